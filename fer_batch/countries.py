"""Countries by their codes, and those where the AI Act applies."""

from __future__ import annotations

from typing import Final

_MEMBERS = "AT BE BG CY CZ DE DK EE EL ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
"""Of the European Union; EL is its own code for Greece."""

_EEA = "IS LI NO"
"""The regulation is marked "Text with EEA relevance": these are held to it as well."""

_OTHERS = """
AD AE AF AG AI AL AM AO AQ AR AS AU AW AX AZ BA BB BD BF BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF
CG CH CI CK CL CM CN CO CR CU CV CW CX DJ DM DO DZ EC EG EH ER ET FJ FK FM FO GA GB GD GE GF GG GH GI GL GM GN GP
GQ GS GT GU GW GY HK HM HN HT ID IL IM IN IO IQ IR JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LK LR LS
LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MU MV MW MX MY MZ NA NC NE NF NG NI NP NR NU NZ OM PA PE PF PG
PH PK PM PN PR PS PW PY QA RE RS RU RW SA SB SC SD SG SH SJ SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK
TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
"""The other codes of ISO 3166-1 alpha-2. Parts of member states overseas have some: such a place goes by its state."""

UNDER_THE_AI_ACT: Final = frozenset([*_MEMBERS.split(), *_EEA.split(), "EU", "EEA"])

COUNTRIES: Final = UNDER_THE_AI_ACT | frozenset(_OTHERS.split())
