// What the page says, in both languages.
export const WORDS = {
  en: {
    conversations: "Conversations", new: "New", newTip: "Alt+N", kept: "Kept in this browser only.", clear: "Delete all",
    model: "Model", beside: "beside", none: "no other", mode: "Mode", chat: "Chat", text: "Text", settings: "Settings",
    documents: "from the documents", sources: "Sources",
    system: "System prompt: how to answer", defaults: "Defaults", prompt: "Message", send: "Send", stop: "Stop",
    stopTip: "Esc", key: "API key", ok: "OK", other: "한국어", untitled: "New conversation", remove: "Delete",
    again: "Regenerate", againTip: "Alt+R", copy: "Copy", copied: "Copied", good: "Good answer", bad: "Bad answer",
    better: "This one is better", on: "Continue", earlier: "Previous answer", later: "Next answer",
    cut: "cut off at the limit of tokens", stopped: "stopped", working: "Answering",
    askHere: "Ask something", beginHere: "Begin a text; the model continues it",
    emptyChat: "Ask {model} something. It knows what it was trained on, and no more.",
    emptyText: "{model} only continues text. Begin one, as its documents begin.",
    hint: "Enter sends, Shift+Enter starts a new line, Esc stops, Alt+R answers again, Alt+N starts a conversation.",
    small: "{parameters} M parameters; sees the last {context} tokens.",
    lost: "The server cannot be reached: is `slm serve` still running?", confirm: "Delete all conversations in this browser?",
    temperature: "Temperature", top_p: "Top p", top_k: "Top k", min_p: "Min p", repetition_penalty: "Repetition penalty",
    max_tokens: "Most tokens", seed: "Seed (empty: random)",
  },
  ko: {
    conversations: "대화", new: "새 대화", newTip: "Alt+N", kept: "이 브라우저에만 저장됩니다.", clear: "모두 지우기",
    model: "모델", beside: "비교 대상", none: "없음", mode: "방식", chat: "대화", text: "이어 쓰기", settings: "설정",
    documents: "문서에서 찾아 대답", sources: "출처",
    system: "시스템 프롬프트: 어떻게 대답할지", defaults: "기본값", prompt: "메시지", send: "보내기", stop: "멈춤",
    stopTip: "Esc", key: "API 키", ok: "확인", other: "English", untitled: "새 대화", remove: "지우기",
    again: "다시 대답", againTip: "Alt+R", copy: "복사", copied: "복사했습니다", good: "좋은 대답", bad: "나쁜 대답",
    better: "이쪽이 더 낫습니다", on: "이어서 쓰기", earlier: "이전 대답", later: "다음 대답",
    cut: "토큰 한도에서 잘렸습니다", stopped: "멈췄습니다", working: "대답하는 중",
    askHere: "무엇이든 물어보세요", beginHere: "글을 시작하면 모델이 이어서 씁니다",
    emptyChat: "{model}에게 물어보세요. 학습한 것만 알고 있습니다.",
    emptyText: "{model}은(는) 글을 이어 쓰기만 합니다. 학습한 문서처럼 글을 시작해 보세요.",
    hint: "Enter로 보내고, Shift+Enter로 줄을 바꾸고, Esc로 멈추고, Alt+R로 다시 대답하고, Alt+N으로 새 대화를 시작합니다.",
    small: "매개변수 {parameters} M개, 마지막 {context} 토큰까지 봅니다.",
    lost: "서버에 연결할 수 없습니다. `slm serve`가 실행 중인지 확인하세요.", confirm: "이 브라우저의 대화를 모두 지울까요?",
    temperature: "온도", top_p: "Top p", top_k: "Top k", min_p: "Min p", repetition_penalty: "반복 벌점",
    max_tokens: "최대 토큰 수", seed: "시드 (비우면 임의)",
  },
};

// [least, most, step] of each sampling setting.
export const NUMBERS = {
  temperature: [0, 10, 0.1], top_p: [0.01, 1, 0.01], top_k: [0, 100000, 1], min_p: [0, 1, 0.01],
  repetition_penalty: [0.1, 10, 0.05], max_tokens: [1, 100000, 1], seed: [0, 9007199254740991, 1],
};
