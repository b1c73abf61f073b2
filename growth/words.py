"""Words of time in the names of photos, in European and East Asian languages, and what cameras write there."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

CAMERAS = "IMG|DSC[NF]?|MVI|GOPR|DJI"  # before the number of a photo
HALF = r"(?:[ap]\.?\s?m(?![^\W\d_])|오[전후])"  # of a day
_PARTS_OF_DAY = (
    "morning|noon|afternoon|evening|vormittags?|mittags?|nachmittags?|morgens|abends|matin|midi|soir|mañana|tarde|noche"
)
HALVES = re.compile(
    rf"(?<![^\W\d_])(?:{HALF}(?![0-9])|(?:{_PARTS_OF_DAY})(?![^\W\d_]))|午[前後后]|[上下]午", re.IGNORECASE
)
_KOREAN_DATE = re.compile(r"((?:19|20)[0-9]{2})년[ _]?([0-9]{1,2})월[ _]?([0-9]{1,2})일")
_EACH_MONTH = (  # in English, German, French and Spanish
    "jan(?:uary|uar|vier)?|enero",
    "feb(?:ruary|ruar|rero)?|f[ée]vrier",
    "mar(?:ch|s|zo)?|m[aä]rz",
    "apr(?:il)?|avril|abril",
    "ma[iy]|mayo",
    "june?|junio?|juin",
    "july?|julio?|juillet",
    "aug(?:ust)?|ao[uû]t|agosto",
    "sept?(?:ember|embre|iembre)?",
    "o[ck]t(?:ober|obre|ubre)?",
    "nov(?:ember|embre|iembre)?",
    "de[cz](?:ember)?|d[ée]cembre|diciembre",
)
MONTHS = "|".join(_EACH_MONTH)
# 31 May 2024, May 31 2024, 2024 May 31, and the same without spaces.
_NAMED_MONTH = re.compile(
    rf"(?<![^\W_])(?:(?P<y1>(?:19|20)[0-9]{{2}})(?P<a>[ _.-]?)(?P<m1>{MONTHS})(?P=a)(?P<d1>[0-3]?[0-9])"
    rf"|(?P<d2>[0-3]?[0-9])\.?[ _.-]?(?P<m2>{MONTHS})[ _.,-]{{0,2}}(?P<y2>(?:19|20)[0-9]{{2}})"
    rf"|(?P<m3>{MONTHS})[ _.-]?(?P<d3>[0-3]?[0-9])(?:,[ _]?|[ _.-])(?P<y3>(?:19|20)[0-9]{{2}}))(?![0-9])",
    re.IGNORECASE,
)
UNITS = (
    "da[tspeg]|dpi|doy|days?|tage?|jours?|d[ií]as?|weeks?|wks?|kw|wochen?|semaines?|semanas?|months?|monate?|mois|meses|"
    "time[ _-]?points?|sessions?|visits?"
)
WEEKDAYS = (
    "mon(?:day|tag)|tues?(?:day)?|dienstag|wednesday|mittwoch|thursday|donnerstag|fri(?:day)?|freitag|satur(?:day)?|"
    "sams?tag|sun(?:day)?|sonntag|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche"
)
VIEWS = (
    "cam(?:era)?|caméra|kamera|view|ansicht|vue|vista|side|seite|angle"  # of which there may be several of one plant
)
BEFORE_AFTER = "before|after|vorher|nachher|avant|apr[eè]s|antes|despu[eé]s"
# A folder of one camera's photos: cam1, side_90, top view, VIS_SV_0 (as LemnaTec names them), NIR.
OF_A_CAMERA = re.compile(
    rf"(?:{VIEWS})[ _-]*(?:[0-9]+|[a-z])?|(?:top|side|front|back)(?:[ _-]?view)?|"
    r"(?:vis|rgb|nir|fluo?)(?:[ _-]?(?:sv|tv|side|top))?(?:[ _-]?[0-9]+)?",
    re.IGNORECASE,
)
# Words by which names may be in an order that sorting does not give.
TIMES_IN_WORDS = re.compile(rf"(?<![^\W\d_])(?:{MONTHS}|{WEEKDAYS}|{BEFORE_AFTER})(?![^\W\d_])", re.IGNORECASE)
# Words that turn the order of the numbers beside them round: 3 weeks ago, vor 3 Wochen, minus 3.
BACKWARDS = re.compile(
    r"(?<![^\W\d_])(?:ago|before|prior|vor|avant|antes|hace|il y a|minus|neg)(?![^\W\d_])", re.IGNORECASE
)


@lru_cache(maxsize=2**17)
def with_dashes(name: str) -> str:
    """Write Korean dates, and those whose month is a word, as 2024-05-31; compose letters that macOS has decomposed."""
    name = _KOREAN_DATE.sub(r"\1-\2-\3", unicodedata.normalize("NFC", name))
    return _NAMED_MONTH.sub(_in_numbers, name)


def _in_numbers(date: re.Match[str]) -> str:
    year, month, day = (next(filter(None, date.group(f"{part}1", f"{part}2", f"{part}3"))) for part in "ymd")
    number = next(n for n, words in enumerate(_EACH_MONTH, 1) if re.fullmatch(words, month, re.IGNORECASE))
    return f"{year}-{number:02}-{int(day):02}"
