"""The response parser's vocabulary: words that introduce a label or a confidence, and words that do not change a
statement.

A statement is accepted only if all of its words are known. A word missing here loses an answer; a wrong word here gives
a wrong number.
"""

from __future__ import annotations

LABEL = (
    r"emotions?|answers?|labels?|sentiment|feelings?|predictions?|pred(?=\s?[.:=→])|choice|category|class(?:ification)?|mood|verdict|guess"
    r"|expression|response|result|conclusion|option|winner|[ée]motions?|sentiments?|réponse|emoci[óo]n|sentimiento"
    r"|respuesta|emozione|risposta|emoção|resposta|gefühl|stimmung|antwort|emotie|antwoord|эмоция|чувство|ответ|emocja"
    r"|odpowiedź|duygu|cevap|final(?=\s?:)|correction(?=\s?:)|emosi"
    r"|cảm xúc|emoce|känsla|емоція|العاطفة|الانفعال|المشاعر|भावना|อารมณ์"
)
LABEL_CJK = "情绪(?:类别|標籤|标签)?|情緒|情感(?:类别|标签)?|标签|標籤|感情|表情|答案|答え|回答|감정|정답|답"
CONFIDENCE = (
    r"(?:niveau de |degré de |nivel de |grado de |livello di |nível de |grau de |уровень |степень |مستوى |درجة )?"
    r"(?:confidence|probability|prob(?=\s?[.:=→])|conf(?=\s?[.:=→])|certainty|likelihood|confiance|certitude|probabilité"
    r"|confianza|certeza|probabilidad|konfidenz|sicherheit|wahrscheinlichkeit|gewissheit|fiducia|confidenza|sicurezza|probabilità"
    r"|confiança|probabilidade|zekerheid|waarschijnlijkheid|уверенност[ьи]|вероятность|pewność|güven|الثقة"
    r"|विश्वास(?: स्तर)?|आत्मविश्वास|độ tin cậy|keyakinan|kepercayaan|jistota|säkerhet|впевненість|ความมั่นใจ)"
)
CONFIDENCE_CJK = "置信度|信心(?:度|水平|分数)?|自信度|可信度|概率|機率|確信度|信頼度|確率|신뢰도|확신도|확률"


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


NUMBER_WORDS = word_set(
    "about around approximately approx roughly circa ca ~ ≈ somewhere near close ish i im i'm am we are we're my our"
    " me own it its it's this that the a an is be of at as in with to and so for myself say have said put rate"
    " estimate estimated give assign assigned stated state overall final self-reported now only just still call go"
    " going peg settle set lands sits stands comes report reported rated judge place therefore thus hence here there"
    " there's quite feel fairly pretty then equals answer label prediction choice emotion exactly precisely solid"
    " simply personally honestly frankly gut instinct let's lets think believe likely fits fit shows shown show"
    " clearly mainly primarily dominant primary main probably definitely looks like choose chose select selected pick"
    " which guess assessment judgement judgment that's by model's model classification feeling sentiment response"
    " right correct accurate being expression confidence confident certain certainty sure probability prob likelihood"
    " chance level score rating value die der das diese dieser esta este cette ce questa questo con una un uno del la"
    " el le les avec une ein eine einer mit zu bei von de di da um uma com é è est es ist bin je suis c'est estoy etwa"
    " pred env environ около 我有 有 约有 的把握 的信心 の自信 です だ 입니다 yo nous wir"
    " noi equal percentage stars points"
)
"""Words around a number that do not change it."""

LABEL_WORDS = NUMBER_WORDS | word_set(
    "person man woman boy girl child face he she his her subject individual lady guy their expresses express"
    " expressed expressing conveys conveyed convey evokes evoked suggests displays displayed displaying depicts"
    " depicted depicting depict showing seems seem appears appear feels visible predominantly obviously certainly"
    " surely mood described reads read reading experiencing experience experiences felt reflects reflect reveals"
    " indicates indicate indicating indicated communicates radiates portrays portrayed captures conveying evoking"
    " suggest suggesting classified labelled labeled identified categorized categorised interpreted perceived seen see"
    " detected recognized recognised associated consistent corresponds matches image picture photo photograph painting"
    " scene artwork facial face's person's strongly most best very mostly largely strong evident apparent apparently"
    " would i'd we'd term word category class option emotional here's from one somewhat slightly mildly highly truly"
    " really tone sense based open smile smiling tears frown look looking viewer viewers makes what choosing wins"
    " inspires visibly plainly evidently noticeably genuinely unmistakably deeply"
    " pr p tl dr winner sondern mais sino but match classify describe"
)
"""Words around a sentence's only label that are compatible with its being the answer."""

HIGH = word_set("high strong very extremely absolutely completely fully highly reasonably strongly")
MIDDLE = word_set("moderate medium moderately")
LOW = word_set("low weak slight little poor minimal")
"""Words that are compatible with a number only if they agree with it."""
