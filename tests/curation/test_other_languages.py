"""Rules that assume a language apply to that language only, and what cannot be judged is not judged."""

import polars as pl
import pytest

from pipeline.curation.filters import heuristics, language
from pipeline.curation.filters.model_text import kinds_and_prose
from pipeline.text.stop_words import count_stop_words, stop_words_of
from tests.curation.filter_texts import ENGLISH, KOREAN, frame, reasons

# The harbour of filter_texts.ENGLISH in other languages.
PROSE = {
    "de": "Der Hafen war früh am Morgen still, und die Boote, die die ganze Nacht draußen gewesen waren, "
    "kamen mit der "
    "Flut nach Hause. Ein alter Mann saß auf der Mauer und sah ihnen zu, wie er es jeden Tag getan hatte, "
    "seit er das "
    "Fischen aufgegeben hatte. Er kannte jedes Boot an seinem Klang. Niemand fragte ihn mehr danach, aber "
    "er schrieb "
    "die Zahlen in ein kleines Buch.",
    "es": "El puerto estaba tranquilo por la mañana temprano, y los barcos que habían pasado toda la noche "
    "en el mar "
    "volvían a casa con la marea. Un viejo estaba sentado en el muro y los miraba, como lo hacía cada día "
    "desde que dejó "
    "de pescar. Conocía cada barco por su sonido. Nadie le preguntaba ya por ello, pero él anotaba las "
    "cuentas en un "
    "cuaderno pequeño.",
    "fr": "Le port était calme au petit matin, et les bateaux qui avaient passé toute la nuit en mer "
    "rentraient avec la "
    "marée. Un vieil homme était assis sur le mur et les regardait, comme il le faisait chaque jour depuis "
    "qu'il avait "
    "cessé de pêcher. Il connaissait chaque bateau à son bruit. Personne ne lui posait plus de questions, "
    "mais il notait "
    "les chiffres dans un petit carnet.",
    "ru": "Ранним утром в гавани было тихо, и лодки, которые всю ночь были в море, возвращались домой с "
    "приливом. Старик "
    "сидел на стене и смотрел на них, как он делал это каждый день с тех пор, как сам перестал рыбачить. Он "
    "узнавал "
    "каждую лодку по звуку. Никто его больше об этом не спрашивал, но он записывал числа в маленькую "
    "книжку, чтобы у "
    "него было что показать за день, и никто не знал, зачем ему это нужно.",
    "id": "Pelabuhan itu sepi pada pagi hari, dan perahu yang sudah berada di laut sepanjang malam pulang "
    "bersama air "
    "pasang. Seorang lelaki tua duduk di atas tembok dan melihat mereka, seperti yang dia lakukan setiap "
    "hari sejak dia "
    "berhenti menangkap ikan. Dia mengenal setiap perahu dari suaranya. Tidak ada yang bertanya lagi "
    "kepadanya, tetapi "
    "dia mencatat jumlahnya di dalam sebuah buku kecil.",
    "tr": "Liman sabahın erken saatlerinde sessizdi ve bütün gece denizde kalan tekneler yükselen suyla "
    "birlikte eve "
    "dönüyordu. Yaşlı bir adam duvarın üzerinde oturuyor ve balıkçılığı bıraktığı günden beri her gün yaptığı gibi "
    "onları izliyordu. Her tekneyi sesinden tanırdı. Artık kimse ona bunu sormuyordu, ama o yine de gün "
    "için bir şey "
    "göstermek istediği için sayıları küçük bir deftere yazıyordu ve bu onun için çok önemli bir işti.",
    "ar": "كان الميناء هادئا في الصباح الباكر، وكانت القوارب التي قضت الليل كله في البحر تعود إلى البيت مع "
    "المد. جلس "
    "رجل عجوز على الجدار وكان ينظر إليها كما كان يفعل كل يوم منذ أن ترك الصيد. كان يعرف كل قارب من صوته، "
    "وكان يستطيع "
    "أن يعرف ما الذي كان فيه. لم يسأله أحد عن ذلك بعد الآن، ولكنه كان يكتب العدد في دفتر صغير.",
    "hi": "सुबह के समय बंदरगाह शांत था और जो नावें पूरी रात समुद्र में थीं वे ज्वार के साथ घर लौट रही थीं। "
    "एक बूढ़ा आदमी दीवार पर बैठा "
    "था और उन्हें देख रहा था, जैसा वह हर दिन करता था जब से उसने मछली पकड़ना छोड़ दिया था। वह हर नाव को उसकी "
    "आवाज़ से "
    "पहचानता था। अब कोई उससे इसके बारे में नहीं पूछता था, लेकिन वह एक छोटी किताब में संख्या लिखता था।",
    "vi": "Bến cảng yên tĩnh vào buổi sáng sớm, và những chiếc thuyền đã ở ngoài khơi suốt đêm đang trở về "
    "nhà cùng với "
    "thủy triều. Một ông già ngồi trên bức tường và nhìn chúng, như ông đã làm mỗi ngày kể từ khi ông thôi "
    "đánh cá. Ông "
    "biết từng chiếc thuyền qua tiếng của nó. Không ai hỏi ông về điều đó nữa, nhưng ông vẫn ghi con số vào "
    "một cuốn sổ "
    "nhỏ.",
    "th": "ท่าเรือเงียบสงบในตอนเช้าตรู่ และเรือที่ออกทะเลตลอดทั้งคืนกำลังกลับบ้านพร้อมกับน้ำขึ้น "
    "ชายชราคนหนึ่งนั่งอยู่บนกำแพงและมองดูพวกมัน "
    "อย่างที่เขาทำทุกวันตั้งแต่เลิกจับปลา เขารู้จักเรือทุกลำจากเสียงของมัน ไม่มีใครถามเขาเรื่องนี้อีกแล้ว "
    "แต่เขายังจดตัวเลขไว้ในสมุดเล่มเล็ก",
    "zh": "清晨的港口很安静，整夜在外面的船随着潮水回家了。一位老人坐在墙上看着它们，自从他自己不再打鱼以来，"
    "他每天都这样做。"
    "他听声音……就知道是哪一条船。现在没有人再问他了，但是他还是把数目记在一个小本子上了。这样他就有东西可以证明"
    "这一天。",
    "km": "កំពង់ផែស្ងប់ស្ងាត់នៅពេលព្រឹកព្រលឹម "
    "ហើយទូកដែលនៅខាងក្រៅពេញមួយយប់កំពុងត្រឡប់មកផ្ទះវិញជាមួយនឹងទឹកជោរ។ បុរសចំណាស់ម្នាក់អង្គុយ"
    "លើជញ្ជាំង ហើយមើលពួកវា ដូចដែលគាត់បានធ្វើរាល់ថ្ងៃ។ គាត់ស្គាល់ទូកនីមួយៗតាមសំឡេងរបស់វា។",
}  # fmt: skip


def found(text: str) -> pl.DataFrame:
    """A document as the stages after the language stage receive it."""
    documents = frame(text)
    label = language.signals(documents, language.Settings(), {})["label"]
    return documents.with_columns(label.alias("lang"))


@pytest.mark.parametrize("lang", PROSE)
def test_prose_of_any_language_stays(lang):
    document = found(PROSE[lang])
    assert document["lang"].to_list() == [lang]
    assert reasons(language, document, allow=[lang]) == [None]
    assert reasons(heuristics, document) == [None]


@pytest.mark.parametrize("lang", ["de", "es", "fr", "ru", "id", "tr", "ar"])
def test_a_list_of_names_lacks_the_stop_words_of_any_language(lang):
    known = stop_words_of(lang)
    long_words = [word for word in PROSE[lang].replace(",", "").split() if word.lower().strip(".") not in known]
    names = ". ".join(" ".join(word.strip(".") + str(turn) for word in long_words) for turn in range(6)) + "."
    given = frame(names).with_columns(lang=pl.lit(lang))
    assert reasons(heuristics, given, repetition={"enabled": False}) == ["gopher_stop_words"]


def test_nothing_is_asked_of_a_language_that_is_not_known_or_has_no_list():
    names = ". ".join(f"Nyumba kubwa tatu{n} yenye milango mipya{n} imejengwa haraka sana juzi" for n in range(9)) + "."
    assert stop_words_of("sw") == frozenset() and stop_words_of("../de") == frozenset()
    for lang in ("sw", None):
        given = frame(names).with_columns(lang=pl.lit(lang, pl.String))
        signals = heuristics.signals(given, heuristics.Settings(), {})
        assert signals["stop_words"].to_list() == signals["word_length"].to_list() == [None]
        assert reasons(heuristics, given, repetition={"enabled": False}) == [None]
    assert reasons(heuristics, frame(names, lang="en"), repetition={"enabled": False}) == ["gopher_stop_words"]


def test_stop_words_are_counted_once_each():
    texts = pl.Series(["Der Hafen und der Hafen und DER", "the and of", "nichts davon", "x"])
    assert count_stop_words(texts, pl.Series(["de", "de", "de", None])).to_list() == [2, 0, 2, None]


def test_each_language_has_a_model_of_its_own():
    documents = pl.concat([found(text) for text in (ENGLISH, KOREAN, PROSE["de"], PROSE["fr"], PROSE["zh"])])
    assert kinds_and_prose(documents)[0].to_list() == ["spaced", "ko", "de", "fr", "unspaced"]
    unknown = documents.with_columns(lang=pl.lit(None, pl.String))
    assert kinds_and_prose(unknown)[0].to_list() == ["spaced", "ko", "spaced", "spaced", "unspaced"]
