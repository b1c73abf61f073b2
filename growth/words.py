"""Words of time in the names of photos, in European and East Asian languages, and what cameras write there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

CAMERAS = "IMG(?:_E)?|DSC[NF]?|MVI|GOPR|DJI|SAM_|PICT"  # before the number of a photo
HALF = r"(?:[ap]\.?\s?m(?![^\W\d_])|오[전후])"  # of a day
_PARTS_OF_DAY = (
    "dawn|sunrise|früh|morgens?|morning|matin|mañana|mattina|manhã",
    "vormittags?|mittags?|noon|midday|midi",
    "nachmittags?|afternoon|après-midi|tarde|pomeriggio",
    "dusk|sunset|abends?|evening|spät|soir|sera",
    "nachts?|night|nuit|noche|notte|noite",
)
HALVES = re.compile(
    rf"(?<![^\W\d_])(?:{HALF}(?![0-9])|(?:{'|'.join(_PARTS_OF_DAY)})(?![^\W\d_]))|"
    r"午[前後后]|[上下]午|(?<![^\W\d_])(?:아침|저녁|[朝夕晩晚夜])(?![^\W\d_])",
    re.IGNORECASE,
)
_EAST_ASIAN_DATE = re.compile(r"((?:19|20)[0-9]{2})[년年][ _]?([0-9]{1,2})[월月][ _]?([0-9]{1,2})[일日号號]")
_EACH_MONTH = (  # in English, German, French, Spanish, Italian, Portuguese and Dutch
    "jan(?:uary|uari?|vier|eiro)?|enero|gennaio",
    "feb(?:ruary|ruari?|rero|braio)?|f[ée]vrier|fevereiro",
    "mar(?:ch|s|zo)?|m[aä]rz|março|maart",
    "apr(?:ile?)?|avril|abril",
    "ma[iy]|mayo|maggio|maio|mei",
    "june?|junio?|juin|giugno|junho",
    "july?|julio?|juillet|luglio|julho",
    "aug(?:ust|ustus)?|ao[uû]t|agosto",
    "sept?(?:ember|embre|iembre)?|settembre|setembro",
    "o[ck]t(?:ober|obre|ubre)?|ottobre|outubro",
    "nov(?:ember|embre|iembre|embro)?",
    "de[cz](?:ember|embro)?|d[ée]cembre|diciembre|dicembre",
)
MONTHS = "|".join(_EACH_MONTH)
# 31 May 2024, May 31 2024, 2024 May 31, and the same without spaces.
_NAMED_MONTH = re.compile(
    rf"(?<![^\W_])(?:(?P<y1>(?:19|20)[0-9]{{2}})(?P<a>[ _.-]?)(?P<m1>{MONTHS})(?P=a)(?P<d1>[0-3]?[0-9])"
    rf"|(?P<d2>[0-3]?[0-9])(?:\.|st|nd|rd|th|er)?(?:[ _]de[ _]|[ _.-]?)(?P<m2>{MONTHS})"
    rf"(?:[ _]del?[ _]|[ _.,-]{{0,2}})(?P<y2>(?:19|20)[0-9]{{2}})"
    rf"|(?P<m3>{MONTHS})[ _.-]?(?P<d3>[0-3]?[0-9])(?:st|nd|rd|th)?(?:,[ _]?|[ _.-])(?P<y3>(?:19|20)[0-9]{{2}}))"
    "(?![0-9]|[-_. ][0-9]{1,2}[-_. ][0-9])",  # not of sep3_2024-05-31
    re.IGNORECASE,
)
OTHER_UNITS = (  # than days
    "hpi|hrs?|hours?|stunden?|heures?|horas?|weeks?|wks?|wa[ps]|kw|wochen?|semaines?|semanas?|settiman[ae]|vecka|"
    "months?|monate?|mois|meses|mesi|bbch|time[ _-]?(?:points?|steps?)|sessions?|visits?|messung|termin|measurements?|"
    "aufnahmen?"
)
DAYS = "(?:days?|tage?n?|jours?|d[ií]as?|giorn[oi]|день|дня|дней)"
UNITS = rf"da[tspeg]|dp[ig]|doy|{DAYS}|{OTHER_UNITS}"
WEEKDAYS = (
    "mon(?:day|tag)|tues?(?:day)?|dienstag|wednesday|mittwoch|thursday|donnerstag|fri(?:day)?|freitag|satur(?:day)?|"
    "sams?tag|sun(?:day)?|sonntag|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|lunes|martes|mi[ée]rcoles|jueves|"
    "viernes|s[áa]bado|domingo|luned[ìi]|marted[ìi]|mercoled[ìi]|gioved[ìi]|venerd[ìi]|sabato|domenica|maandag|dinsdag|"
    "woensdag|donderdag|vrijdag|zaterdag|zondag"
)
_VIEWS = "cam(?:era)?|caméra|kamera|view|ansicht|vue|side|seite|angle"
VIEWS = rf"{_VIEWS}|vista|[st]v|rot(?:ation)?"  # of which there may be several of one plant
_BEFORE_AFTER = "before|vorher|vor|avant|antes|prima", "after|nachher|nach|apr[eè]s|despu[eé]s|dopo"
# Words that tell an order, those of one moment together.
_MOMENTS = (
    _BEFORE_AFTER,
    ("start|begin(?:ning)?|initial|anfang|début|inicio", "middle|mitte", "end|final|last|ende|fin"),
    ("yesterday|gestern|hier|ayer", "today|heute|aujourd'hui|hoy", "tomorrow|demain"),
    _PARTS_OF_DAY,
)
_NUMERALS = (
    ("one|first", "two|second", "three|third", "four(?:th)?", "five|fifth", "six(?:th)?", "seven(?:th)?"),
    ("erste[rs]?|eins", "zweite[rs]?|zwei", "dritte[rs]?|drei", "vierte[rs]?|vier"),
)
_OF_MOMENTS, _OF_NUMERALS = ("|".join("|".join(order) for order in orders) for orders in (_MOMENTS, _NUMERALS))
# A folder of one camera's photos, if all folders are named so: cam1, side_90, top view, NIR, VIS_SV_0 (as LemnaTec
# names them), 100CANON and 100_0531 (as cameras name their own).
OF_A_CAMERA = re.compile(
    rf"(?:{_VIEWS})(?:[ _-]*[0-9]+|[ _-][a-z])?|(?:top|side|front|back)(?:[ _-]?view)?|"
    r"(?:vis|rgb|nir|fluo)(?:[ _-]?(?:sv|tv|side|top))?(?:[ _-]?[0-9]+)?|"
    r"1[0-9]{2}(?:CANON|APPLE|NIKON|MSDCF|_PANA|OLYMP|_FUJI|GOPRO|MEDIA|_(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))",
    re.IGNORECASE,
)
# Photos' names begin so without a plant of that name: IMG_0001, frame_0001, Week 1.
COUNTED = re.compile(
    rf"(?:{CAMERAS}|{UNITS}|{_VIEWS}|frame|photo|foto|image|bild|picture|pic|time[ _-]?lapse|capture)s?", re.IGNORECASE
)
# What phones and their programs write before dates, and words that are no plant's name.
OF_NO_PLANT = re.compile(
    rf"(?:(?:{CAMERAS}|{_OF_MOMENTS}|PXL|MVIMG|VID|whatsapp .*|screenshots?|photo|image|snapchat|signal)[\W_]*)?",
    re.IGNORECASE,
)
# What phones and their programs write after dates.
OF_NO_PLANT_AFTER = re.compile(
    r"[\W_]*(?:(?:edited|bearbeitet|cropped|hdr|mp|portrait|cover|pano(?:rama)?|collage|effects|burst.*)[\W_]*)?",
    re.IGNORECASE,
)
# Words by which names may be in an order that sorting does not give.
TIMES_IN_WORDS = re.compile(rf"(?<![^\W\d_])(?:{MONTHS}|{WEEKDAYS})(?![^\W\d_])", re.IGNORECASE)
# Words that turn the order of the numbers beside them round: 3 weeks ago, vor 3 Wochen, minus 3.
BACKWARDS = re.compile(
    r"(?<![^\W\d_])(?:ago|before|prior|vor|avant|antes|hace|il y a|minus|neg)(?![^\W\d_])", re.IGNORECASE
)
# The name of a folder that is a part of a year or a day, or a moment, if all folders are named so: 2024-05, 2024-W22,
# D01, T0, 24h, Mai, before.
OF_A_MOMENT = re.compile(
    rf"(?:19|20)[0-9]{{2}}[-_. ](?:0[1-9]|1[0-2]|k?w[0-9]{{1,2}})|(?:[djtw]|tp|hrs|rounds?|dai|dpa)[ _+-]?[0-9]+|"
    r"[0-9]+[ _]?(?:[dh]|hrs?)|[0-9]+(?:st|nd|rd|th)|第[一二三四五六七八九十]+[天日周週回次]|[0-9]+回目?|"
    rf"{MONTHS}|{WEEKDAYS}|{_OF_MOMENTS}|(?:{UNITS})[ _-](?:{_OF_NUMERALS})",
    re.IGNORECASE,
)


def told_backwards(names: Sequence[str]) -> tuple[str, str] | None:
    """Return two names of which the former is the later one by a word such as after and before, the only difference."""
    for order in (*_MOMENTS, *_NUMERALS):
        words = [re.compile(rf"(?<![^\W\d_])(?:{word})(?![^\W\d_])", re.IGNORECASE) for word in order]
        found = [[(rank, word.sub("", name)) for rank, word in enumerate(words) if word.search(name)] for name in names]
        if all(len(ranks) == 1 for ranks in found) and len({rest for ((_, rest),) in found}) == 1:
            for (one, name), (other, later) in pairwise(zip(found, names, strict=True)):
                if one > other:
                    return name, later
    return None


@lru_cache(maxsize=2**17)
def with_dashes(name: str) -> str:
    """Write East Asian dates, and those with the month as a word, as 2024-05-31; compose letters that macOS parts."""
    name = _EAST_ASIAN_DATE.sub(r"\1-\2-\3", unicodedata.normalize("NFC", name))
    return _NAMED_MONTH.sub(_in_numbers, name)


def _in_numbers(date: re.Match[str]) -> str:
    year, month, day = (next(filter(None, date.group(f"{part}1", f"{part}2", f"{part}3"))) for part in "ymd")
    number = next(n for n, words in enumerate(_EACH_MONTH, 1) if re.fullmatch(words, month, re.IGNORECASE))
    return f"{year}-{number:02}-{int(day):02}"
