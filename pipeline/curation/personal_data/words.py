"""Words that make a value count: those that may stand some words before it, directly before it, or behind it.

The words before are Presidio's context words (`WordsBefore` in analyser.py compares them). BESIDE and BEHIND are
expressions over the text that touches the value, for words too common to count from afar (하나, M., text me at) and for
sentences that put the value first (`…으로 송금해 주세요`, `… (여권번호)`, `… fax`).
"""

from __future__ import annotations

import re

RRN = ["주민등록번호", "주민번호", "주민등록", "주민", "등록번호", "신분증", "rrn"]
FRN = ["외국인등록번호", "외국인번호", "외국인등록", "외국인", "등록번호", "등록증", "frn"]
BRN = ["사업자등록번호", "사업자번호", "사업자", "등록번호", "brn"]
PASSPORT = ["여권", "passport"]
LICENCE = ["운전면허", "면허번호", "면허증", "면허"]
PHONE = ["phone", "telephone", "tel", "cell", "cellphone", "mobile", "call", "fax", "sms", "whatsapp",
         "전화", "연락처", "휴대폰", "핸드폰", "팩스", "문의"]  # fmt: skip
CARD = ["credit", "card", "visa", "mastercard", "amex", "discover", "jcb", "diners", "maestro", "cc",
        "카드", "결제"]  # fmt: skip
IP = ["ip", "ipv4", "ipv6", "아이피"]
SSN = ["social", "security", "ssn", "ssns", "ssid"]
ITIN = ["itin", "taxpayer"]
ACCOUNT = ["계좌", "은행", "입금", "송금", "예금", "이체", "농협", "뱅크", "통장", "환불", "후원", "납부",
           "축의금", "조의금", "신한", "새마을금고", "신협", "수협", "우체국"]  # fmt: skip

BANKS = (
    "국민|우리|하나|기업|산업|씨티|제일|경남|부산|대구|광주|전북|제주|신한|농협|수협|축협|신협|우체국"
    "|새마을금고|카카오|토스|카뱅|케이"
)
MONEY = "송금|입금|이체|계좌|은행|뱅크|농협|수협|신협|우체국|예금주|통장"
RESIDENT = r"[^\d\n]{0,12}(?:주민|등록번호|외국인)"
CALLING = "fax|phone|telephone|mobile|cell|tel|whatsapp"

# Recogniser -> what the text directly before a value may end with.
BESIDE: dict[str, re.Pattern[str]] = {
    "kr_account": re.compile(rf"(?:{BANKS})(?:은행|뱅크|금고)?\s?[:(\-]?\s?$"),
    "kr_passport": re.compile(r"(?i)(?:여권|passport)[^\n.!?]{0,52}$"),
    "phone": re.compile(r"(?i)\b(?:text|reach|ring|dial|contact)(?:\s(?:me|us|him|her|them))?(?:\s(?:at|on))?:?\s$"),
}
# Recogniser -> what the text behind a value may begin with.
BEHIND: dict[str, re.Pattern[str]] = {
    "rrn": re.compile(RESIDENT),
    "frn": re.compile(RESIDENT),
    "kr_passport": re.compile(r"(?i)[^\d\n]{0,12}(?:여권|passport)"),
    "kr_licence": re.compile(r"[^\d\n]{0,12}면허"),
    "kr_account": re.compile(rf"[^\d\n]{{0,14}}(?:{MONEY})|\s?(?:으로|로)\s[^\n]{{0,14}}(?:보내|부쳐|부치|넣어)"),
    "ssn": re.compile(r"(?i)[^\d\n]{0,20}(?:\bssn\b|social security)"),
    "card": re.compile(r"(?i)[^\d\n]{0,8}(?:\bcard\b|카드)"),
    "phone": re.compile(rf"(?i)[ ,]{{0,2}}\(?(?:is (?:my|our|his|her|their|the) )?(?:{CALLING})\b"),
}
BESIDE["world_phone"], BEHIND["world_phone"] = BESIDE["phone"], BEHIND["phone"]
REACH = 60  # code points on each side that these expressions see
# Directly before a number of the form of a telephone number: what says that it is none.
NO_PHONE = re.compile(r"(?i)(?:model|version|order|table|part|모델|버전|주문|기종)(?:\s?번호|\s?no\.?)?\s?[:#]?\s?$")


def supported(name: str, text: str, start: int, end: int) -> bool:
    """Whether the text that touches the value [start, end) supports what recogniser `name` takes it for."""
    beside, behind = BESIDE.get(name), BEHIND.get(name)
    if beside is not None and beside.search(text[max(0, start - REACH) : start]):
        return True
    return behind is not None and behind.match(text[end : end + REACH]) is not None
