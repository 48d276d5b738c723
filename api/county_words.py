"""How a county writes a time, an age, a sex, a modality: the filters of all templates.

Each takes the value first and ``language`` and ``timezone`` by name; :func:`api.pages.environment` binds those two.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from babel.dates import format_timedelta

from api.refusals import N_
from api.translations import LOCALES, translate
from core.clock import in_county, now
from core.tables import Organisation

_SEXES = {"zh": {"M": "男", "F": "女", "O": "其他"}, "en": {"M": "M", "F": "F", "O": "other"}}
#: Below these, an age is told in days and in months.
_MONTH_OLD, _THREE_YEARS = 1 / 12, 3.0


def county_time(moment: datetime | None, *, language: str, timezone: str, seconds: bool = False) -> str:
    """Return a time on the county's wall clock: ``2026-11-25 10:21``."""
    if moment is None:
        return ""
    return in_county(moment, timezone).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def short_time(moment: datetime, *, language: str, timezone: str) -> str:
    """Return the hour of today, or the day and hour of an earlier day: ``10:21``, ``11-24 10:21``."""
    local, today = in_county(moment, timezone), in_county(now(), timezone)
    return local.strftime("%H:%M" if local.date() == today.date() else "%m-%d %H:%M" if local.year == today.year else "%Y-%m-%d")


def ago(moment: datetime, *, language: str, timezone: str) -> str:
    """Return how long ago something was: ``5 分钟前``, ``5 minutes ago``."""
    passed = now() - moment
    if passed.total_seconds() < 60:
        return translate(language, N_("just now"))
    return format_timedelta(-passed, add_direction=True, locale=LOCALES[language], threshold=1.5)


def county_date(day: date | None, *, language: str, timezone: str) -> str:
    """Return a day: ``1981-03-05``."""
    return day.isoformat() if day else ""


def sex(letter: str, *, language: str, timezone: str) -> str:
    """Return a patient's sex (0010,0040) as the county writes it; nothing when the device left it out."""
    return _SEXES[language].get(letter, "")


def age(years: float | None, *, language: str, timezone: str) -> str:
    """Return an age: years, below three years months, below a month days."""
    if years is None:
        return ""
    if years < _MONTH_OLD:
        count, unit = round(years * 365.25), {"zh": "天", "en": " d"}
    elif years < _THREE_YEARS:
        count, unit = int(years * 12 + 0.01), {"zh": "个月", "en": " mo"}
    else:
        count, unit = int(years), {"zh": "岁", "en": " y"}
    return f"{count}{unit[language]}"


def name_of(organisation: Organisation, *, language: str, timezone: str) -> str:
    """Return an organisation's name in the page's language."""
    return organisation.name_zh if language == "zh" else organisation.name_en or organisation.name_zh


def percent(probability: float, *, language: str, timezone: str) -> str:
    """Return a probability as the pages write it: never 0 % or 100 %, which nobody can know."""
    return f"{min(max(round(probability * 100), 1), 99)}%"


FILTERS: dict[str, Callable[..., Any]] = {
    "county_time": county_time,
    "short_time": short_time,
    "county_date": county_date,
    "ago": ago,
    "sex": sex,
    "age": age,
    "name_of": name_of,
    "percent": percent,
}
