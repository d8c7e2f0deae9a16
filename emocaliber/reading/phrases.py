"""Regular expressions for English phrases around a label: those that name the answer, those that describe, and those
that disqualify a sentence because it negates, supposes, or refers to something else.
"""

from __future__ import annotations

import re

from emocaliber.reading.numbers import QUANTITY


def _any(phrases: str) -> str:
    """An alternation of phrases that are separated by commas or line breaks."""
    return "|".join(part.strip() for part in re.split(r",\s|\n", phrases) if part.strip())


_AFTER_NAME = r"[\"'”’*_)]{0,3}"
_SMALL_WORDS = _any(r"""
    a, an, the, of, closest to, like
    most, very, so, quite, rather, best, clear, strong, one of, as, to, be, being, that of, this
    it, him, her, them, he, she, is, someone who, someone who['’]s, a person who, described, classified, labell?ed
    emotion, expression, feeling, sense, face, image, picture, person, with, \w{3,14}ly""")
_FILLER = rf"(?:(?:{_SMALL_WORDS})\s){{0,6}}[\"'“‘*_(]{{0,3}}$"
_NOUNS = _any("""
    it, this, that, answer, emotion, feeling, label, expression, mood, sentiment, response, verdict, conclusion
    category, choice, emoção, emoción, emozione, émotion, stimmung, emotie""")
_LINKS = _any("is, are, reads as, comes across as, was rated, must be, seems to be, appears to be, est, ist, es, è, é")
_WE = _any("i['’]d, i would, i['’]ll, i will, i, we, i am, i['’]m, would")
_CALL = _any("""
    label, labell?ing, classify, call, describe, say, choose, pick, go with, going with, select, settle on, conclude
    answer, read, interpret, stay with, stick with""")
_AMOUNTS = _any(r"""
    best (?:described|classified|labell?ed|captured) (?:as|by), consistent with, leans? towards?, leaning towards?
    can be (?:described|classified|seen|read) as, points? (?:clearly )?to, amounts to, settled? on, corresponds? to
    that leaves, which leaves, so, hence, thus, therefore, →
    (?:revise|revised|change|changed) (?:it|this|my answer|my label) to""")

NAMES_ANSWER = re.compile(
    rf"(?:\b(?:{_NOUNS})\b(?:(?!\b(?:who|which|and)\b)[^,;:.]){{0,60}}?,?(?:\s(?:however|then|thus|therefore|clearly),)?"
    rf"(?:\s(?:{_LINKS})|['’]s)\s|\b(?:{_WE})\s(?:\w{{3,14}}ly\s)?(?:{_CALL})\s"
    r"|\b(?:confident|sure|certain) (?:in|that (?:it|this) is|it is|it['’]s|of)\s"
    r"|\b(?:probability|chance|likelihood|confidence) (?:of|that (?:it|this) is)\s"
    rf"|\b(?:{_AMOUNTS}),?\s){_FILLER}"
)
"""Before a name: the sentence says that it is the answer."""

_SEEN = _any("""
    see, has, have, wears?, bears?, is, are, looks?, seems?, appears?, feels?, shows?, showing, expresse[sd]
    expressing, exhibits?, exhibiting
    feel, conveys?, conveying, evokes?, evoking, inspires?, inspiring, elicits?, provokes?
    radiates?, exudes?, portrays?, displays?, displaying, depicts?
    suggests?, indicates?, reflects?, reveals?, feeling, experiencing, signals?, points? to""")
DESCRIBES = re.compile(rf"(?:\b(?:{_SEEN})|['’]s)\s(?:(?:clear |some |visible |strong )?signs of\s)?{_FILLER}")
"""Before a name: the sentence says that it is seen."""

_GOES_ON = _any(r"""
    because, since, as, with, due, given, here, and\b, at\b, in\b, on\b, to\b, that\b, about\b, rather than\b
    over\b, for\b, when\b, too\b, instead\b, it is\b, then\b, now\b, from\b, by\b, label\b, category\b, emotion\b
    expression\b, face\b, look\b, mood\b""")
ENDS_CLAUSE = re.compile(rf"{_AFTER_NAME}(?:\s?(?:[.,;:!()—–。，；-]|$)|\s(?:{_GOES_ON}))")
"""After a name: it is not part of a longer one ("surprise party")."""

IS_ANSWER = re.compile(
    rf"{_AFTER_NAME}\s(?:is|seems|seems to be|appears to be|would be|fits|it is)(?:\s(?:the|my|clearly"
    r"|most likely|likely|most plausible|best|dominant|main|primary|final|correct|overall|predominant"
    r"|prevailing|closest|strongest)){0,4}"
    r"(?:\s(?:most appropriate|most fitting|most accurate"
    r"|emotion|answer|label|feeling|choice|match|fit|guess|mood|expression|interpretation|pick)|\s?[.!]|$)"
)
"""After a name: "is the most likely emotion"."""

OPENS = re.compile(rf"{_AFTER_NAME}\s?(?:[.,:;!(—–-]|$|it is\b|because\b|since\b)")
"""After a name with which a sentence begins: it stands alone."""

OPENING = re.compile(
    r"^\W{0,4}(?:so|no|wait|actually|thus|well|okay|ok|then|yes|hmm|most likely|probably|likely|my guess is"
    r"|overall|therefore|definitely|clearly)\b,?\s"
)
"""Words before the name with which a sentence begins all the same."""

NOT_BUT = re.compile(r"\bnot\b[^.;:]{0,60}\bbut\s(?:rather\s)?(?:a |an |one of |clearly )?$|不是[^。；]{1,30}而是$")
"""Before a name: "not joy but", "不是…而是"."""

NUMBER_BESIDE = re.compile(
    rf"{_AFTER_NAME}[»]?\s?(?:[,(–—@:-]|at|with)?\s?(?:at\s|with\s)?(?:(?:about|around|roughly|approximately|[~≈])\s?)?"
    rf"(?P<number>{re.sub(r'[?]P<[a-z]+>', '?:', QUANTITY)})"
    r"(?:\s(?:confidence|certainty|probability|sure|confident|certain))?\s?\)?\s?(?:[.,;!]|$)"
)
"""After a name: its number and nothing else before the clause ends."""

_WOULD = (
    r"(?<!label )(?<!answer )(?<!choice )(?<!guess )(?<!emotion )"
    r"would(?! (?:(?:most )?(?:likely |probably )?feel|classify|label|describe"
    r"|call|say|go|choose|pick|select|settle|conclude|answer"
    r"|be (?:best )?(?:described|labell?ed|classified)))"
)
SUPPOSED = re.compile(
    r"\?|(?<!\bas )\bif\b(?! i (?:had|have|must|were (?:forced|pressed)))|\b(?:"
    + _any(r"""
    unless, impossible, wrong, colleagues?, could, might, may, were, was
    had(?! to (?:choose|pick|guess|say|label|decide|name)), whether, at first, initially
    first (?:look|glance|sight), doubt\w*, (?:can|will|could) (?:not|never), can['’]?t, won['’]?t, some will
    others will, used to, usually, often, typically, sometimes, normally, supposed, pretend\w*, associated with""")
    + rf"|{_WOULD})\b"
)
"""In a clause: what it says is supposed, past, doubted or said in general."""

_UNLIKELY = r"[0-4]?[0-9]\s?% (?:(?:chance|probability|likelihood) )?(?:of|for|that (?:it|this) is)"
ELSEWHERE = re.compile(
    r"\b(?:"
    + _any(r"""
    title, caption, text, sign, words?, song, name, background, others?, another, friends?, someone, everyone, raters?
    annotators?, your, options?, previous, earlier, example, user, question, prompt
    some (?:people|viewers|would|may|might), most people, people (?:often|would|might|usually|tend|may), candidates?
    choices, list, second, third, runner-?up, least, alternative\w*, opposite, wrong, absence, lack, next, only, maybe
    perhaps, possibly, remaining, remainder""")
    + rf"|{_UNLIKELY})\b"
)
"""Before a name: the clause speaks of something or somebody else, or of a lesser candidate."""

SAID_BY_OTHERS = re.compile(
    r"\b(?:caption|title|text|sign|words?|poster|shirt|banner|lyrics?|song)\b[^.]{0,30}\b(?:reads?|says?|said|is|are)\b"
    r"|\byou (?:said?|suggest(?:ed)?|think|asked|mention(?:ed)?|labell?ed)\b"
    r"|\b(?:he|she|they|who|friend|expert|doctor|user|teacher|mother|father)"
    r" (?:says?|said|claims?|thinks?|thought|believes?)\b"
)
"""Before a name, anywhere in its sentence."""

TURNED_DOWN = re.compile(r"\b(?:would be|is|seems) (?:wrong|incorrect|a mistake|misleading|not (?:it|right|correct))\b")
TAKES_BACK = re.compile(r"\bno,|\bwait\b|\bactually\b|\bon second thought|\bscratch that|\bcorrection\b|\bor rather\b")
"""After a name, anywhere in its sentence."""

CONCLUDES = re.compile(
    r"^\W{0,4}(?:so|thus|therefore|hence|overall|in (?:conclusion|summary|sum|short|the end)|to (?:conclude|sum up)"
    r"|finally|all in all|taken together|altogether|on balance|my answer|the answer|final)\b"
)
"""At the beginning of a sentence that concludes."""

_OTHER_WORDS = r"""
    nicht, kein\w*, weder, ohne, vielleicht, oder, wenn, pas, aucun\w*, ni, sans, peut-être, ou, si, no, ning[uú]n\w*
    sin, quizás?, tal vez, o, não, nem, sem, talvez, se, non, nessun\w*, senza, forse, geen, niet, zonder, misschien
    of, не, нет, без, или, возможно, если, nie, ani, bez, lub, może, değil, yok, veya, belki, bukan, tidak, atau
    mungkin, không, hoặc, ei, tai, inte, eller, ikke, není, nebo, nu, sau, vagy, ليس, لا, أو, ربما, नहीं, या, शायद
    לא, או, δεν, ή"""
DOUBTED = re.compile(rf"\?|\b(?:{_any(_OTHER_WORDS)})\b|[不没沒非无無未别或]|ない|ません|かも|않|아니|없|또는|ไม่|หรือ")
"""Denial, doubt and choice in other languages."""
