"""Where personal data could be: windows of text around candidates, found for a whole column at once.

Almost no text contains anything that a recogniser could match, and a regular expression over a column finds this out at
tens of megabytes per CPU-second. Only the rest, with the words before it, goes to Presidio: a line or two instead of a
document, and each distinct window once, however often a licence repeats it.

A candidate is a run of characters that a value consists of, or its middle (the `@`), so that a recogniser sees the
whole value and its neighbours. It is short in any text: a page of digits is many candidates. The expressions are
written for a matcher without backtracking: ASCII classes, no Unicode word boundaries (ten times slower).
"""

from __future__ import annotations

import polars as pl

BEFORE, AFTER = 80, 60  # code points around a candidate: some five words before, the rest of an address after
MARK = "\ufdd0"  # a noncharacter, never in exchanged text (Unicode 23.7); splits the text at candidates

BORN = r"(?i:born|birth|dob|d\.o\.b|[^a-z0-9_.]b\.)|생년월일|출생|생일|태어난"
# Small letters are read as an IBAN only behind the code of a country that has them (ibans.py), or every hash were one.
IBAN_COUNTRIES = (
    "ad|ae|al|at|az|ba|be|bg|bh|bi|br|by|ch|cr|cy|cz|de|dj|dk|do|ee|eg|es|fi|fk|fo|fr|gb|ge|gi|gl|gr|gt|hr|hu|ie|il|iq|is"
    "|it|jo|kw|kz|lb|lc|li|lt|lu|lv|ly|mc|md|me|mk|mn|mr|mt|mu|ni|nl|no|om|pk|pl|ps|pt|qa|ro|rs|ru|sa|sc|sd|se|si|sk|sm"
    "|so|st|sv|tl|tn|tr|ua|va|vg|xk|ye"
)
# Kind of candidate -> expression.
KINDS: dict[str, str] = {
    "mail": r"[\w+~-]@[\w-]+\.\w",
    "address": (
        r"[가-힣]{1,6}(?:시|도|군|구|서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|제주|[충전경][북남])"
        r"\s+(?:[가-힣]{1,5}(?:시|군|구|읍|면)\s+){0,3}[가-힣][가-힣0-9]{0,11}"
        r"(?:로|길|동|리|가|읍|면)\s?(?:산\s?)?[0-9]{1,4}"
    ),
    "ipv6": r"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{4,40}",
    "iban": (
        r"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?"
        rf"|(?-u:\b)(?:{IBAN_COUNTRIES})[0-9]{{2}}(?:[ -]?[a-z0-9]{{4}}){{2,7}}(?:[ -]?[a-z0-9]{{1,3}})?"
    ),
    "passport": r"[MSRODmsrod][0-9]{3}[A-Za-z0-9][0-9]{4}",
    # A date of birth: from the word to the first digit behind it, or from the last digit to the word behind it.
    "born": rf"(?:{BORN})[^0-9\n]{{0,60}}[0-9]",
    "birth": (
        r"[0-9][일.]{0,2}[ (,]{0,3}생(?:$|[^가-힣]|이|인|입|으|까|의|은|들|년)"
        rf"|[0-9][^0-9\n]{{0,32}}(?:태어|{BORN})"
    ),
    "ipv4": r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
    "number": r"\+?\(?[0-9](?:[ ().–/-]{0,3}[0-9]){6,40}",
}

ACCOUNT = (
    "계좌|은행|입금|송금|예금|이체|농협|뱅크|통장|환불|후원|납부|축의금|조의금|신한|금고|신협|수협|축협|우체국"
    "|국민|우리|하나|기업|산업|씨티|제일|경남|부산|대구|광주|전북|제주|카카오|토스|카뱅|케이|보내|부쳐|부치|넣어"
)
NEVER, ANY = "[^\\s\\S]", "[0-9]"
PHONE = (
    r"(?i)phone|tel|cell|mobile|call|fax|sms|whatsapp|text|reach|ring|dial|contact|전화|연락처|휴대폰|핸드폰|팩스|문의"
)
ABROAD = r"\+(?:[ ().-]{0,2}[0-9]){8}"
# Recogniser -> the candidates that it could match: a form that counts alone (or with a check digit), a form that needs
# a word beside it, and these words. Dates, decimals and counters match none of them and are dropped here. The words are
# those of words.py, or parts of them.
RECOGNISERS: dict[str, dict[str, tuple[str, str, str]]] = {
    "mail": {"email": (".", NEVER, "")},
    "address": {"kr_address": (".", NEVER, "")},
    "ipv6": {"ip": (".", NEVER, "")},
    "iban": {"iban": (".", NEVER, "")},
    "passport": {"kr_passport": (NEVER, ANY, r"(?i)여권|passport")},
    "born": {"birth": (".", NEVER, "")},
    "birth": {"birth": (".", NEVER, "")},
    "ipv4": {"ip": (".", NEVER, "")},
    "number": {
        "rrn": (r"[0-9]{6}(?:\s?[–-]\s?| ?)[1-4][0-9]{6}", NEVER, ""),
        "frn": (r"[0-9]{6}(?:\s?[–-]\s?| ?)[5-8][0-9]{6}", NEVER, ""),
        "brn": (r"[0-9]{3}-[0-9]{2}-[0-9]{5}", r"[0-9]{10}", r"(?i)사업자|등록번호|brn"),
        "kr_licence": (r"[0-9]{2}-[0-9]{2}-[0-9]{6}-[0-9]{2}", r"[0-9]{2} ?[0-9]{2} ?[0-9]{6} ?[0-9]{2}", r"면허"),
        "kr_phone": (r"01[016789][-. 0-9]|\+82|0[2-7][0-9]{0,2}(?:[) -]|\.[0-9]{3,4}\.)", r"0[1-7]", PHONE),
        "phone": (rf"{ABROAD}|\([0-9]{{2,4}}\)|[0-9]{{3}}[-.][0-9]{{3}}[-.][0-9]{{4}}", ANY, PHONE),
        "world_phone": (rf"{ABROAD}|\([0-9]{{3}}\)|[0-9]{{3}}-[0-9]{{3}}-[0-9]{{4}}", ANY, PHONE),
        "ssn": (r"[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}", r"[0-9]{3}[ .]?[0-9]{2}[ .]?[0-9]{4}", r"(?i)social|security|ss"),
        "itin": (r"9[0-9]{2}[ -][0-9]{2}[ -][0-9]{4}", r"9[0-9]{8}", r"(?i)itin|taxpayer"),
        "card": (r"[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}|[0-9]{4}[ -][0-9]{6}[ -][0-9]{4}|[0-9]{12}", NEVER, ""),
        "kr_account": (NEVER, r"[0-9]{2,6}-[0-9]{2,6}-[0-9]{3,7}|[0-9]{10}", ACCOUNT),
    },
}  # fmt: skip
DECIMAL = r"^[0-9]{1,4}\.[0-9]+$"


def windows(texts: pl.Series, kinds: tuple[str, ...] = tuple(KINDS)) -> pl.DataFrame:
    """Candidates in a column of texts, each with the text around it.

    One row per candidate: `row` (index into texts), `kind`, `asked` (names of the recognisers that could match it,
    separated by spaces), `start`, `end` (code points), `offset` (of the window in the text) and `window`. Sorted by
    kind, row and position.
    """
    return pl.concat([_of_kind(texts, kind) for kind in kinds])


def _of_kind(texts: pl.Series, kind: str) -> pl.DataFrame:
    rows = _with_words(texts, kind)
    holds = texts.gather(rows).str.contains(KINDS[kind])
    rows = rows.filter(holds)
    some = pl.DataFrame({"row": rows, "text": texts.gather(rows)})
    # Text, candidate, text, candidate, ...: their lengths give the position of each candidate, and the three parts on
    # each side are enough for its window. Slicing the text itself would scan it each time.
    unmarked = pl.col("text").str.replace_all(MARK, " ", literal=True)
    piece = pl.col("piece")
    before = pl.concat_str([piece.str.tail(BEFORE).shift(n, fill_value="").over("row") for n in (3, 2, 1)])
    after = pl.concat_str([piece.str.head(AFTER).shift(-n, fill_value="").over("row") for n in (1, 2, 3)])
    found = (
        some.lazy()
        .select("row", piece=unmarked.str.replace_all(KINDS[kind], f"{MARK}${{0}}{MARK}").str.split(MARK))
        .explode("piece")
        .with_columns(
            before=before.str.tail(BEFORE),
            after=after.str.head(AFTER),
            length=piece.str.len_chars().cast(pl.Int64),
            candidate=pl.int_range(pl.len()).over("row") % 2 == 1,
        )
        .with_columns(end=pl.col("length").cum_sum().over("row"))
        .filter("candidate")
        .with_columns(start=pl.col("end") - pl.col("length"), window=pl.concat_str("before", "piece", "after"))
        .with_columns(offset=pl.col("start") - pl.col("before").str.len_chars(), asked=_recognisers_for(kind))
        .filter(pl.col("asked") != "")
    )
    if kind == "number":
        found = found.filter(~piece.str.contains(DECIMAL))
    return found.select("row", pl.lit(kind).alias("kind"), "asked", "start", "end", "offset", "window").collect()


def _with_words(texts: pl.Series, kind: str) -> pl.Series:
    """The rows of the texts that hold the words that all recognisers of a kind need beside it, if all need some."""
    needed = [words for alone, _, words in RECOGNISERS[kind].values() if alone == NEVER]
    every = len(needed) == len(RECOGNISERS[kind])
    return (texts.str.contains("|".join(needed)) if every else texts.is_not_null()).arg_true()


def _recognisers_for(kind: str) -> pl.Expr:
    piece, window = pl.col("piece"), pl.col("window")
    names = [
        pl.when(piece.str.contains(alone) | (piece.str.contains(form) & window.str.contains(words))).then(pl.lit(name))
        for name, (alone, form, words) in RECOGNISERS[kind].items()
    ]
    return pl.concat_str(names, separator=" ", ignore_nulls=True)
