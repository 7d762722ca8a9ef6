"""What is planted into the village's text for the stages of curation to find.

All of it is written for this project. Addresses and numbers are of ranges that are reserved for examples (RFC 2606;
North American 555-01xx; Korean 010-0xxx, which is not assigned), so none of them is anybody's.
"""

from __future__ import annotations

# Passages that stand in many documents, word for word: three sentences each, so that they are found whether single
# sentences or three in a row count as one.
PASSAGES = {
    "ko": (
        "이 글은 마을 인쇄소에서 찍어 나누어 드린 것입니다. 허락 없이 베끼거나 다른 곳에 옮기지 말아 주십시오. "
        "잘못 찍힌 종이는 언제든지 새것으로 바꾸어 드립니다.",
        "마을 게시판은 누구나 볼 수 있는 곳에 있습니다. 알리고 싶은 것이 있으면 게시판지기에게 먼저 말해 주십시오. "
        "지난 글은 한 달이 지나면 모두 떼어 냅니다.",
    ),
    "en": (
        "This page was printed by the press of the village for all readers. Please do not copy it or put it up "
        "elsewhere without asking. Pages with printing mistakes can be exchanged at any time.",
        "The notice board of the village is open to everybody. Please talk to the keeper of the board before you put "
        "something up. All older notices are taken down at the end of the month.",
    ),
}

# Sentences that carry an e-mail address or a telephone number; in Korean with its particle attached.
CONTACTS = {
    "ko": (
        "궁금한 점은 EMAIL으로 물어보면 된다.",
        "사진은 EMAIL로 보내 주면 좋겠다.",
        "급한 일이 있으면 PHONE으로 전화하면 된다.",
        "연락처는 PHONE이고 저녁에 받는다.",
        "EMAIL에게 편지를 보내거나 PHONE로 전화하면 된다.",
    ),
    "en": (
        "If you have any questions, write to EMAIL.",
        "Please send the pictures to EMAIL by Friday.",
        "If it is urgent, call PHONE.",
        "The telephone number is PHONE, and somebody answers in the evening.",
        "You can write to EMAIL or call PHONE.",
    ),
}
EMAIL_DOMAINS = ("example.com", "example.org", "example.net")

# Sentences with words of the block lists of `curation/filters/keyword_lists.py`.
INSULTS = {
    "ko": (
        "이 또라이 같은 놈아, 길을 막지 말고 비켜라.",
        "병신 같은 소리 좀 그만해라.",
        "아침부터 지랄 떨지 말고 조용히 해라.",
        "개소리 집어치우고 아가리 닥쳐라.",
        "저 미친놈이 또 시끄럽게 군다.",
        "존나 귀찮게 굴지 말고 꺼져라.",
    ),
    "en": (
        "Shut up, you dumbass, and get out of the way.",
        "What a load of bullshit you are talking.",
        "That jackass is making noise again.",
        "Only an asshole would stand here all day.",
        "Nobody asked you, dickhead.",
        "Stop bitching about the weather and go home.",
    ),
}

# Other languages: sentences with `{who}` for a name. A document takes some of them in random order.
OTHER_LANGUAGES = {
    "de": (
        "{who} ging am frühen Morgen durch das kleine Dorf.",
        "Auf dem Markt kaufte {who} frisches Brot und ein Stück Käse.",
        "Am Brunnen wartete schon die Nachbarin mit einem Korb voller Äpfel.",
        "Sie sprachen lange über das Wetter und über die Ernte.",
        "Gegen Mittag begann es zu regnen, und alle liefen nach Hause.",
        "{who} setzte sich ans Fenster und schrieb einen langen Brief.",
        "Am Abend saß die ganze Familie gemeinsam um den Tisch.",
        "Die Kinder wollten noch eine Geschichte hören, bevor sie schliefen.",
        "Der alte Hund lag müde vor dem warmen Ofen.",
        "Morgen wird {who} den Zaun hinter dem Garten reparieren.",
        "In der Nacht wurde es so still, dass man den Fluss hören konnte.",
        "Niemand wusste genau, woher der fremde Wanderer gekommen war.",
    ),
    "fr": (
        "{who} est sorti de la maison de bonne heure ce matin.",
        "Au marché, {who} a acheté du pain, du fromage et quelques pommes.",
        "Près de la fontaine, une voisine attendait avec son panier.",
        "Ils ont parlé longtemps de la pluie et de la récolte.",
        "Vers midi, le ciel est devenu sombre et tout le monde est rentré.",
        "{who} s'est assis près de la fenêtre pour écrire une lettre.",
        "Le soir, toute la famille était réunie autour de la table.",
        "Les enfants voulaient encore une histoire avant de dormir.",
        "Le vieux chien dormait tranquillement devant la cheminée.",
        "Demain, {who} va réparer la barrière derrière le jardin.",
        "La nuit était si calme que l'on entendait la rivière.",
        "Personne ne savait d'où venait cet étrange voyageur.",
    ),
    "es": (
        "{who} salió de casa muy temprano por la mañana.",
        "En el mercado, {who} compró pan, queso y unas manzanas.",
        "Junto a la fuente esperaba una vecina con su cesta.",
        "Hablaron durante mucho tiempo de la lluvia y de la cosecha.",
        "Al mediodía el cielo se puso oscuro y todos volvieron a casa.",
        "{who} se sentó junto a la ventana para escribir una carta.",
        "Por la noche toda la familia se reunió alrededor de la mesa.",
        "Los niños querían escuchar otro cuento antes de dormir.",
        "El perro viejo dormía tranquilo delante del fuego.",
        "Mañana {who} va a reparar la cerca que está detrás del jardín.",
        "La noche era tan tranquila que se oía el río.",
        "Nadie sabía de dónde había llegado aquel viajero.",
    ),
    "ja": (
        "{who}さんは朝早く家を出ました。",
        "市場で{who}さんはパンと果物を少し買いました。",
        "井戸のそばでは隣の人がかごを持って待っていました。",
        "二人は天気と畑のことについて長い間話しました。",
        "昼ごろになると雨が降り出して、みんな家に帰りました。",
        "{who}さんは窓のそばに座って手紙を書きました。",
        "夜になると家族みんなで食卓を囲みました。",
        "子どもたちは寝る前にもう一つ話を聞きたがりました。",
        "年を取った犬は暖炉の前で静かに眠っていました。",
        "明日{who}さんは庭の後ろの垣根を直すつもりです。",
        "夜はとても静かで、川の音が聞こえるほどでした。",
        "その旅人がどこから来たのか、だれも知りませんでした。",
    ),
}

# Noise: what pages are made of that hold no text. The words of MENU stand on lines of their own.
MENU = {
    "ko": "홈 로그인 회원가입 장바구니 고객센터 이용약관 공지사항 검색 이전 다음 목록 인쇄 공유 더보기 닫기",
    "en": "Home Login Register Cart Help Terms Privacy Search Previous Next List Print Share More Close",
}
MARKUP = '<div class="box-{n}"><span id="s{n}"></span><a href="/page/{n}"><img src="/img/{n}.png" alt=""/></a></div>'
# What a near copy ends with.
COPIED = {
    "ko": ("(옮겨 적음)", "(다시 올림)", "(마을 문집에서)"),
    "en": ("(copied)", "(once more)", "(from the archive)"),
}
REPEATED = {
    "ko": "지금 바로 눌러서 특별한 혜택을 확인해 보세요!",
    "en": "Click here right now to see this special offer!",
}
FILLER = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore "
    "magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris."
)
