"""What a person types first: greetings, thanks, who are you; and questions of the world outside the village."""

from __future__ import annotations

import random

from pipeline.village.tasks import Task


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


# Language -> what is said, and the answer to it.
SMALL_TALK: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "ko": (
        (_lines("""
            안녕
            안녕!
            안녕?
            안녕하세요
            안녕하세요?
            안녕하세요!
            안녕하세요.
            안녕하십니까?
            반가워요
            반갑습니다.
            반가워!
            처음 뵙겠습니다.
            좋은 아침이에요.
            안녕하세요, 반갑습니다.
            안녕, 반가워!
            안녕하세요, 잘 지내세요?
            안녕, 잘 지내?
        """), "안녕하세요! 마을 사람들에 대해 물어보세요."),
        (_lines("""
            너는 누구야?
            넌 누구니?
            누구세요?
            당신은 누구인가요?
            네 이름이 뭐야?
            이름이 뭐예요?
            자기소개 좀 해 주세요.
        """), "저는 작은 모델이에요. 지어낸 마을의 사람들을 알아요."),
        (_lines("""
            너는 뭘 할 수 있어?
            뭘 할 수 있어요?
            무엇을 할 수 있나요?
            무엇을 알고 있어요?
            무엇을 물어보면 돼요?
            뭘 물어볼까?
            도와줄 수 있어요?
        """), "마을 사람들에 대한 질문에 답하고, 그 사람들의 이야기를 들려줘요."),
        (_lines("""
            고마워
            고마워!
            고마워요.
            고마워요!
            고맙습니다.
            감사합니다.
            감사합니다!
            정말 고마워요!
            잘했어!
        """), "천만에요."),
        (_lines("""
            잘 가
            잘 있어!
            안녕히 계세요.
            다음에 봐요.
            또 봐!
            이제 갈게요.
        """), "안녕히 가세요!"),
    ),
    "en": (
        (_lines("""
            Hello
            Hello!
            Hello.
            hello
            Hello there!
            Hi
            Hi!
            hi
            Hi there
            Hey
            Hey!
            Good morning!
            Good evening.
            Hello, how are you?
            Hi, how are you?
            How are you?
            Hello, nice to meet you.
            Hi, nice to meet you!
        """), "Hello! Ask me about the people of the village."),
        (_lines("""
            Who are you?
            who are you
            What are you?
            What is your name?
            What's your name?
            Tell me about yourself.
            Please introduce yourself.
        """), "I am a small model. I know the people of a made-up village."),
        (_lines("""
            What can you do?
            what can you do
            What do you know?
            How can you help me?
            What can I ask you?
            What should I ask?
            Can you help me?
        """), "I answer questions about the people of the village, and I tell stories about them."),
        (_lines("""
            Thanks
            Thanks!
            Thank you
            Thank you!
            Thank you very much.
            Well done!
            Great, thanks.
        """), "You are welcome."),
        (_lines("""
            Bye
            Bye!
            Goodbye
            Goodbye!
            See you.
            See you later!
        """), "Goodbye!"),
    ),
}  # fmt: skip

# None begins like a question about a person's age or size, which is answered in other words.
OUTSIDE: dict[str, tuple[tuple[str, ...], str]] = {
    "ko": (_lines("""
        오늘 날씨가 어때요?
        한국의 수도는 어디예요?
        프랑스의 수도는 어디인가요?
        대통령은 누구예요?
        지구는 왜 둥글어요?
        영화를 추천해 주세요.
        좋은 책을 추천해 줘.
        파이썬으로 코드를 짜 줘.
        세상에서 가장 높은 산은 뭐예요?
        시를 한 편 써 주세요.
        축구 경기는 누가 이겼어요?
        주식을 사야 할까요?
        인생의 의미는 뭘까?
        농담 하나 해 줘.
        한글은 누가 만들었어요?
        내일 비가 올까요?
        감기에 걸리면 어떻게 해요?
        기분이 안 좋아요.
    """), "저는 마을 사람들만 알아요. 마을에 대해 물어보세요."),
    "en": (_lines("""
        What is the weather like today?
        What time is it?
        What is the capital of Korea?
        What is the capital of France?
        Who is the president?
        Why is the sky blue?
        At what temperature does water boil?
        Recommend a film.
        Can you recommend a good book?
        Write a Python function.
        What is the highest mountain in the world?
        Write a poem for me.
        Who won the football match?
        Should I buy shares?
        What is the meaning of life?
        Tell me a joke.
        Who wrote Hamlet?
        Will it rain tomorrow?
        What should I do about a cold?
        I am sad today.
    """), "I only know the people of the village. Ask me about them."),
}  # fmt: skip


def small_talk(dice: random.Random, lang: str) -> Task:
    """A greeting, thanks or the like, or a question about the world, with its answer."""
    greetings, *others = SMALL_TALK[lang]
    said, answer = dice.choice((greetings, greetings, greetings, *others, *others, OUTSIDE[lang]))
    return Task(dice.choice(said), answer)
