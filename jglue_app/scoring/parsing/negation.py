"""Whether what follows an answer takes it back. No I/O; all texts are folded (see `normalization.NormalizedText`).

Two kinds of words are told apart. Some deny whatever stands before them (「いや」「訂正」 "no" "wait"). Others deny
only what they are said of: 「違います」 takes the answer back, 「人数が違います」 explains it. Where the subject
is not named, or is the answer, it is a denial. In doubt it is one, too: a missed answer is the smaller harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from jglue_app.scoring.parsing.normalization import DEGENERATE_CHARS

MAX_SENTENCES = 400

_SENTENCE = re.compile(r"(?:[^。!?\n.]|\.(?=\d))+[!?]*")
_LEAD = " \t\u3000。、,.:;-–—―~〜…・※*#>_`「『“\"'‘(（[【<〈《」』”’)）]】〉》}$\\/|=→⇒"
_CONJUNCTION = re.compile(
    r"(?:(?:しかし|でも|だが|ですが|だけど|けれど(?:も)?|けど|ただし?|とはいえ|もっとも|が|あ|ああ|おっと|うーん|え|えっと|あれ|って|"
    r"と思(?:った|いました)が|but|and|so|however|though|although|yet|well|hmm|oh|ah|or|actually|"
    r"必ずしも|決して|絶対(?:に)?|全く|まったく|全然|断じて|明らかに|明らかな|完全に|完全な|本当は|実は|もちろん|たぶん|多分|おそらく|恐らく|"
    r"よく(?:見|考え)ると|どうも|なんか|なんだか|やっぱり|やはり)[、,\s.!…]*)*"
)
_CONTRAST = re.compile(
    r"(?:しかし|でも(?!あ)|だが|ですが|だけど|けれど|けど|ただ|とはいえ|もっとも|一方|逆に|but\b|however\b|though\b|although\b|yet\b)"
)

_HARD = re.compile(
    r"(?<![一-鿿ぁ-ん])(?:いや(?=[、,。!\s.…ー~〜]|違|ちが|そ|$)|いやいや|いいえ|いえ(?=[、,。!\s.…]|違|$)|否(?=[、,。!\s]|$)|ううん|ブー)|"
    r"反対です|逆です|真逆|なーんて|うっそ|採用し(?:な|ま)|無視(?:して|し)|忘れて|削除(?:し|して)|キャンセル|消して|参考にし|やめ(?:ます|とき|てお)|今のなし|ナシ|"
    r"(?:答え?|正解|回答)は(?:別|他|ほか)|別の(?:答え?|もの|選択肢|ラベル|番号)(?:です|だ|が)|訂正|撤回|取り?消|もとい|前言|嘘|(?<![ぁ-ん])うそ|ウソ|冗談|なん(?:て(?:ね|な|こと|嘘|うそ)|ちゃって)|不正解|誤答|はずれ|外れで|外れだ|ハズレ|"
    r"(?:他|ほか|別|ほかの)の[^、。]{0,8}が(?:正|答|適|良|ふさわ)|却下|除外|見当違|勘違|見間違|書き間違|言い間違|早とちり|やり直|考え直|まさか|とんでもな|バツ|[×✕✖✗✘❌]|(?<![a-z])ng(?![a-z])|"
    r"ダメ|だめ|駄目|ノー(?![ァ-ヺー])|没|無効|反例|信じな|信用し|鵜呑|デタラメ|でたらめ|ではなさそう|じゃなさそう|"
    r"(?<![a-z])(?:no|nope|nah)(?=[,.!\s]*$|[,.!]|\s+way)|(?<![a-z])(?:scratch that|never ?mind|"
    r"oops|disregard|retract|take (?:that|it|this) back|"
    r"just kidding|kidding|joking|joke|correction|second thoughts?|my mistake|my bad|reconsider|"
    r"misread|misspoke|i lied|absolutely not|certainly not|definitely not|disagree|ignore|forget (?:it|"
    r"that|this)|cancel (?:it|that|this)|strike (?:it|that|this)|"
    r"opposite|reverse|refuted|rejected|none of|wait|sorry|nonsense|"
    r"apologi[sz]e)\b"
)
"""Words that take back what was said, whatever their subject."""
_SOFT = re.compile(
    r"違(?:う|い|っ|え|わ)|ちが(?:う|い|っ|え)|チガ[ウイッ]|間違|まちが|誤(?:り|っ|認|記|解|判)|正しく(?:な|は|あり)|正解で(?:は|も)?(?:な|あり)|"
    r"不適|不正確|不当|ありえな|ありえま|あり得|有り得|おかし|疑わし|怪し|(?:わけ|はず)[がはでも]*(?:ない|な|あり)|当てはまら|該当し(?:な|ま)|"
    r"あたらな|当たりま|(?:賛成|同意|納得|支持|断言|断定)(?:でき|しな|しま|しか)|無理が|(?<!どちらとも)(?<!何とも)言(?:えな|えませ|い(?:切れ|きれ|過ぎ|難|がた))|限(?:らな|りま)|そぐわ|ふさわしく|適切で(?:は|も)?(?:な|あり)|"
    r"(?<![a-z])(?:incorrect|wrong|mistaken?|false|untrue|inaccurate|invalid|unlikely|doubtful|error|lie)\b|"
    r"(?:(?<![a-z])(?:not|cannot|hardly|far from|anything but|by no means)\b|n't\b)(?:\s+\w+){0,3}\s+"
    r"(?:correct|right|true|so|answer|valid|accurate|appropriate|case|sure|certain|really|label|choice|one|be)\b"
)
"""Words that take the answer back only where it is what they are said of."""
_AFTER_ALL = re.compile(
    r"(?:です|ます|でした|だ|から|ため|[」』”\"')\]}>*`\d点、,]|[a-z])\s*(?:(?:では|じゃ)(?:な(?![くの])|あり|ござ)|以外|を除|"
    r"だとは|とするのは|には(?:賛|同)|とは(?:言|限|思|考え|見な|なら)|(?:だ)?(?:というのは|なんて)|(?:な|の)(?:わけ|はず)が|なわけ|"
    r"は(?:間違|誤|違|正しくな|正しくあ|不正|選|答えで)|と答えるのは|[×❌]|もどき|ちゃ(?:う|いま)|なんか(?:じゃ|で)|を(?:選[ばび]|否)|"
    r"\(\s*(?:no|not|で?はな|な?わけ)|などでは|と決めつけ|と断[言定]|で(?:な|は)いこと|じゃね|"
    r"(?:そう|それ|これ|答え|そんなこと)で?は(?:あり|な)|(?:いや|いいえ|否|ブー|うそ)[。!\s]*$|"
    r"it\s*(?:is not|isn't)\W*$)|"
    r"(?:です|ます)(?![。、,.!\s」』)\]*かねよがしわ]|ので|から|け[どれ]|ます|$)|"
    r"から\s?(?:そう|そんな|これ|それ|この|いや|な[いしん]|じゃ|って|では|とは|という|必ずし|やっぱ|"
    r"not|by no|hardly|i |that|this|it)|"
    r"(?:[^\x00-\x7f]|[)\]}>*`\d])\s*(?:(?:is|was|would be|does|do)\s*(?:not|n't)\b|doesn't|isn't)|"
    r"\bis (?:a |the )?(?:wrong|incorrect) (?:answer|choice|label|score)"
)
"""A sentence that is denied after its end, as in 「…からですではありません」."""
_TAG = re.compile(r"</?[|a-z_/]{1,24}>")
_NO_DENIAL = re.compile(
    r"(?:に?間?違い?|に?ちがい)(?:は|も)?(?:な[いくし]|あり?ませ|ござい?ませ)|間違い?な[くし]|違い[がを]あ|"
    r"と違って|とは?違い[、,]|not only\b|no doubt"
)
_ANSWER_WORD = re.compile(
    r"(?<![一-鿿ァ-ヺ](?<!最終|模範))(?:答え?|こたえ|回答|解答|正解|判断|判定|評価|ラベル|番号|記号|数[字値]|値|点数?|スコア|類似度|結論|選択肢?|分類|予想|推測|主張|発言|出力|結果|"
    r"それ|これ|あれ|そう|そんな|この|その|こちら|そちら|上記?|右|以上|先ほど|さっき|今|実|本当|私|自分|僕|俺|って|なんて|など)"
    r"(?:[はもがとにでのを]|では|には|というのは|こと|[、,])*$"
)
_PREMISE_WORD = re.compile(
    r"(?:仮説|前提|文|意味|状況|内容|場面|事実)[^、。から]{0,16}(?:[がはもに]|と|とは|では|自体)$|"
    r"(?<![a-z])(?:hypothesis|premise|statement|sentence|claim|text)(?![a-z])(?!.*(?<![a-z])(?:that|this|it|answer)(?:'s|\s+(?:is|was))?\s*$)"
)
_SUBJECT = re.compile(
    r"[一-鿿ァ-ヺー]{1,12}(?:同士|たち)?(?:[がともは]|とは|では|自体が?)(?:全く|まったく|大きく|明らかに|少し|完全に)?$"
)

_PARTICLE_FIRST = re.compile(
    r"(?:では(?![、,\s])|だ(?:とは|なんて|というの|と(?:思|し|い))|と(?:する|すれ)|に(?:は|も)?(?:賛成|同意|納得|反対)|でも(?:あり|な)|じゃ|と[^、。\s]{1,8}[はが](?:言|い[っう]|思|答|書|考|主張)|と(?:は|も(?!か)|い(?:う(?!のも)|った|え|っ)|言|思|し|見|考|聞|書|答|の)|って|なんて|など|は(?![いっ])|"
    r"もどき|ちゃ[うい]|で(?:な|は)いこと|と[一-鿿]|を(?:選|除|否)|"
    r"(?:is|was|does|do|did|would|should|must|might|may|can|could|seems?|isn't|doesn't|wasn't)\b.*(?:\bnot\b|n't|wrong|incorrect|mistake|false)|"
    r"わけ|はず|な(?:わけ|はず|い|く|し)|か(?:も|な|しら|[?。]|どうか|$)|ぽく|らしく|とか|に(?:は|も)?(?:見|思|な[らい])|を(?:否|除)|以外|未満|"
    r"ありませ|ございませ|ません|ぬ|ず(?![っつ]))"
)
"""How a fragment begins that goes on with the sentence before it, as in 「3です。ではありません」."""
_WEAK = re.compile(
    r"な(?:い|かっ|く(?:て|は|も))|ませ(?:ん|ぬ)|(?<!必)(?<!ま)(?<!は)ず(?:[。、]|に|$)|(?:難し|かね|がた|にく)(?:い|く)|"
    r"\bnot\b|n't\b|\bno\b|\bnever\b|\bcannot\b|\bhardly\b|\bbarely\b|\bscarcely\b|\bneither\b|\bdoubt"
)
_ANAPHORA = re.compile(
    r"(?:それ|これ|あれ|そう(?!す)|そんな|こんな|(?:この|その|私の|僕の|上の|前の|今の|先ほどの|さっきの)?(?:答え?|回答|解答|判断|判定|評価|番号|数[字値]|値|"
    r"点数?|スコア|類似度|結論|選択|予想)(?:[はもがでに]|$)|正解[はもでじ]|本当[はに]|実[はの]|上記|先ほど|さっき|自信|確信|自分|私|僕|俺|誰も|"
    r"(?:it|that|this|these|which|i|we|you|nobody|the\s+(?:\w+\s+){0,2}(?:answer|label|score|rating|choice|option|one|number|similarity))(?![a-z]))"
)
_REPEATED = re.compile(r"\d+(?:\.\d+)?点?[」』\"')\s]*(?!は(?!な|無|違|間|誤|不|嘘|正し))")
_OTHERS = re.compile(
    r"(?:他|ほか|その他|それ以外|残り)の(?:選択肢|もの|答え|候補|ラベル|番号|場所|言葉|語|四つ|"
    r"4つ|二つ|2つ)(?:は|に|も|で)|(?:the )?other (?:options|choices|labels|answers)"
)
"""A sentence about the answers that were not given."""
_HARMLESS = re.compile(
    r"以上|結果|結論|判断しました|理由|解説|説明|根拠|補足|参考(?!に)|終わり|おわり|完了|よろしく|お願い|ありがと|正解です|その通り|はい|そうです|から|ため|ので|"
    r"\b(?:explanation|reason|reasoning|thanks?|thank you|done|end|final|correct|yes|because)\b"
)
_COPULA = re.compile(r"^点?[」』”\"')*`]*(?:です|だ|である|となります|でございます)?")
_NUMBER_ALONE = re.compile(r"\d+(?:\.\d+)?点?(?:\s*/\s*\d+)?")
_CUT = re.compile(r"[、,;:]")
_NOT_FIRST = re.compile(
    r"(?:not|never|isn't|ain't|wasn't|wrong|false|incorrect|cannot|can't|hardly|far from|anything but|by no means)\b"
)
_EXAMPLE = re.compile(
    r"(?:誤答|間違い|間違った|誤った|不正解|悪い|良くない|失敗)の?(?:回答|解答|答え?|出力)?の?例|例示|"
    r"\b(?:wrong|incorrect|bad|false)\s+(?:answers?|examples?|outputs?)\b"
)


def is_negated(
    text: str,
    start: int,
    others: Sequence[tuple[int, int]] = (),
    end: int | None = None,
    repeats: Sequence[tuple[int, int]] | None = None,
) -> bool:
    """Whether anything from `start` on takes the answer before it back.

    Args:
        text: folded text.
        start: where the answer and what belongs to it end.
        others: where other answers stand, as (start, end): what is said of those takes nothing back.
        end: where to stop looking.
        repeats: where the answer itself occurs again, as (start, end). If given, a few words that explain nothing are
            a denial, too: there are more ways to deny than can be listed.
    """
    limit = len(text) if end is None else end
    for count, match in enumerate(_SENTENCE.finditer(text, start, limit)):
        if count >= MAX_SENTENCES:
            break
        opening, closing = match.span()
        inside = [(a - opening, b - opening) for a, b in others if opening <= a < closing]
        if _sentence_denies(match.group(), inside):
            return True
        if repeats is None or inside:
            continue
        again = [span for span in repeats if opening <= span[0] < closing]
        rest = match.group()
        if again:
            # 「4.0」 and 「矛盾です」 say the answer again; 「4.0Sike」 does not.
            first = not text[match.start() : again[0][0]].strip(_LEAD)
            rest = _COPULA.sub("", text[again[-1][1] : match.end()]) if first else ""
        if _says_little(rest):
            return True
    return False


def introduces_wrong_answers(text: str, end: int) -> bool:
    """Whether what stands before an answer says that wrong answers follow."""
    return _EXAMPLE.search(text, max(0, end - 300), end) is not None


def contrasts(text: str, start: int, end: int | None = None, weak: bool = False) -> bool:
    """Whether a sentence from `start` on sets itself against what was said; `weak`: and denies something."""
    for count, match in enumerate(_SENTENCE.finditer(text, start, len(text) if end is None else end)):
        if count >= MAX_SENTENCES:
            break
        sentence = match.group()
        if _CONTRAST.match(sentence.lstrip(_LEAD)) and (not weak or _WEAK.search(sentence)):
            return True
    return False


def _sentence_denies(sentence: str, others: Iterable[tuple[int, int]]) -> bool:
    plain = _NO_DENIAL.sub(lambda m: "〓" * len(m.group()), _TAG.sub(lambda m: " " * len(m.group()), sentence))
    lead = len(plain) - len(plain.lstrip(_LEAD))
    if _OTHERS.match(plain, lead):
        return False
    other_ends = [end for _, end in others]
    hard = _HARD.search(plain)
    if hard and not _said_of_other(plain, other_ends, hard.start()):
        return True
    late = _AFTER_ALL.search(plain)
    if late and not _said_of_other(plain, other_ends, late.start() + 1):
        return True
    repeated = _REPEATED.match(plain, lead)
    lead = repeated.end() if repeated and not other_ends else lead
    body = _CONJUNCTION.sub("", plain[lead:], count=1) if lead < len(plain) else ""
    if not body:
        return False
    shift = len(plain) - len(body)
    if _PARTICLE_FIRST.match(body) or _PARTICLE_FIRST.match(plain, lead):
        return not _said_of_other(plain, other_ends, len(plain)) or not other_ends
    if _NOT_FIRST.match(body) and not any(start >= shift for start, _ in others):
        return True
    for soft in _SOFT.finditer(plain):
        if not _said_of_other(plain, other_ends, soft.start()) and not _explains(plain, soft.start()):
            return True
    anaphora = _ANAPHORA.match(body)
    weak = _WEAK.search(plain, shift) if anaphora else None
    return weak is not None and not other_ends


def _says_little(sentence: str) -> bool:
    """Whether a sentence is a few words that neither explain an answer nor are known to be harmless."""
    plain = _TAG.sub(" ", sentence)
    words = re.sub(rf"[\s{DEGENERATE_CHARS}]+", " ", plain).strip(_LEAD + "!?")
    if not words or _HARMLESS.search(words) or _NUMBER_ALONE.fullmatch(words):
        return False
    return len(words.split()) <= 3 if words.isascii() else len(words) <= 8


def _said_of_other(sentence: str, ends: list[int], position: int) -> bool:
    """Whether another answer is what the word at `position` is said of."""
    return any(end <= position for end in ends)


def _explains(sentence: str, position: int) -> bool:
    """Whether the word at `position` is said of something that is not the answer."""
    cut = [m.end() for m in _CUT.finditer(sentence, 0, position)]
    clause = sentence[cut[-1] if cut else 0 : position].strip(_LEAD)
    if _ANSWER_WORD.search(clause) or _ANAPHORA.match(clause):
        return False
    return _PREMISE_WORD.search(clause) is not None or _SUBJECT.search(clause) is not None
