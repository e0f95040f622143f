"""What may stand before and behind an answer in a sentence that gives it. No I/O; all texts are folded.

Everything here lists what is allowed: a sentence that is put otherwise gives no answer. So a denial, a question, a
condition or a comparison that nobody has thought of is not read either.
"""

from __future__ import annotations

import re

from jglue_app.scoring.parsing.normalization import CLOSERS, DEGENERATE_CHARS, OPENERS

_QUOTE_END = r"[」』”\"'’)\]】>〉》}*_`〟〞»$\\" + DEGENERATE_CHARS + r"]*"
_TAG_END = r"(?:\s*(?:</?[a-z|_▁ ]{1,16}[a-z|]>?|<\|[a-z_]{1,24}\|?>?|\[/?[a-z]{1,8}\]))?"
_SELF = (
    r"です(?!か)|でした|でしょう|でございま(?:す|した|しょう)|でありま(?:す|した|しょう)|で(?:ある|あった|あろう)|っす|"
    r"だ(?:った|ろう)?|(?:と|に)な(?:る|り(?:ます|ました|そうです)?|った|って(?:い|おり)?(?:る|ます))|"
    r"に(?:該当|相当)(?:する|します|して(?:い|おり)(?:る|ます))?|に(?:当た|あた|当てはま|あてはま)(?:る|ります)|"
    r"に(?:分類|判定)(?:される|されます|できる|できます)|で(?:いい|よい|良い|よろしい)(?:です|でしょう|と思います|かと思います)?|"
    r"で(?:間違い(?:は)?(?:ない|ありません|ございません|なし)|決まり|確定)(?:です)?|に(?:間?違い)(?:は)?(?:ない|ありません)|"
    r"かもしれ(?:ない|ません)|の?よう(?:です|だ)|らしいです|(?:一択|確定|で正解|が正解|で決定|でお願いします|をお願いします)(?:です)?"
)
_THINK = (
    r"(?:だ|である|になる|となる|か|です)?と(?:思(?:う|い(?:ます)?|われる|われます)|存じます|"
    r"考え(?:る|ます|られる|られます|て(?:い|おり)(?:る|ます)|ました)?|"
    r"(?:判断|推測|推定|推察|結論|予想|評価|判定|解釈|分類|回答|解答|認識|評定)(?:づけ|付け)?(?:る|ます|する|しました|し(?:ます)?|した|され(?:る|ます)|"
    r"でき(?:る|ます)|いた(?:す|します|しました)|られ(?:る|ます)|して(?:い|おり)(?:る|ます))?|"
    r"[言い](?:え(?:る|ます)|える(?:でしょう|だろう|と思います))|見(?:る|ます|られ(?:る|ます)|なせ(?:る|ます))|みられ(?:る|ます)|"
    r"する|し(?:ます|ました|た|て(?:い|おり)(?:る|ます))|させていただきます|いたします|答え(?:る|ます|させていただきます)|"
    r"な(?:る|り(?:ます|ました)?)|なって(?:い|おり)(?:る|ます)|いうこと(?:です|になります|だ)|いう(?:結論|判断|答え|回答)(?:です|になります|だ)|"
    r"いったところ(?:です|だ|でしょう))"
)
_RIGHT = (
    r"(?:の方|のほう)?が(?:最も|もっとも|一番|いちばん|最|より)?[ \u3000]?(?:正解|正しい|適切|適当|"
    r"適任|適して(?:いる|います)|最適|妥当|"
    r"ふさわしい|相応しい|答え|該当(?:する|します)|当てはま(?:る|ります)|あてはま(?:る|ります)|近い|良い|よい|いい|合って(?:いる|います)|"
    r"自然|有力)(?:(?:な|の)?(?:答え|回答|選択肢|もの|番号|関係|ラベル|評価))?"
)
_CHOOSE = (
    r"を(?:選(?:ぶ|びます|びました|択(?:する|します|しました|いたします))|答えとします|回答とします|"
    r"推し?ます|付け(?:る|ます)|つけ(?:る|ます)|与え(?:る|ます))"
)
_STATES = (
    r"(?<=[価容見想感])を(?:し(?:ます|ました|て(?:い|おり)(?:る|ます))|(?:述べ|示し|表し|書い|与え|"
    r"下し|持っ|抱い)て(?:い|おり)(?:る|ます))"
)
_DOES = (
    r"(?:し|され|でき)?(?:する|します|した|しました|して(?:い|おり)?(?:る|ます|ました|た)|される|されます|され(?:て(?:い|おり)?(?:る|ます)))|"
    r"(?:が(?:生じ(?:る|ます|て(?:い|おり)?(?:る|ます))|見られ(?:る|ます)|あ(?:る|ります)|存在(?:する|します)))"
)
_KIND = r"(?:的|関係|の関係)?(?:な(?:評価|レビュー|内容|意見|感想|コメント|もの|関係|トーン|口コミ))?"
_END = (
    r"(?:ね|よ|な(?=[。!\s]|$)|わ|ぞ|の(?=です|だ|[。!よ]|\s*$)|ん(?=です|だ))*(?:です|だ)?(?:ね|よ|な(?=[。!\s]|$))*"
)

_REASON = re.compile(r"(?:な|だ|です|である|の)?(?:ので|から|ため|ことから)(?![がはもをに])")
_REASON_END = re.compile(r"(?:です|だ)?[」』\s]*(?:[。!.]|\n|$)")
_EN = re.compile(
    r"\s+(?:(?:is|would be|seems|looks|fits)\s+(?:(?:the|a|most|best|clearly|definitely|probably|likely|single)\s+)*"
    r"(?:correct|right|best|proper|appropriate|suitable|fitting|answer|choice|option|one|match|fit)(?:\s+(?:answer|choice|option|one|label|match|fit))?|"
    r"(?:relationship|relation|label|sentiment|review|answer|category|class|rating|score)|"
    r"(?:to me|here|overall|in my (?:opinion|view)|i (?:think|believe|guess)|on (?:this|the|that) scale(?: (?:o"
    r"f|from))?|out of|for (?:this|the|these|both)\b[^.\n]{0,40}))"
    r"(?=[\s.!,;]|$)"
)
_EN_REASON = re.compile(r"[,;]?\s+(?:because|since|as|given|for|due to|so)\b")
_COUNTED = re.compile(r"番(?![目線組号手外])")
_GLOSS = re.compile(r"[ \u3000]?\(([^()\n]{0,80})\)|[ \u3000]?\[([^\[\]\n]{0,80})\]")
_GLOSS_BAD = re.compile(
    r"^\s*(?:で?は(?:な|あ)|な?わけ|じゃな|誤|間違|違|ちが|不正|不適|却下|除外|除く|いいえ|いや|ノー|[×✕✖✗❌]|no\b|not\b|n't|false|wrong|incorrect|none|n/a|なし|無し?\s*$|ない|仮|"
    r"例|\?|[\d.,\s%点]+$|0|低|薄|弱|以外|未|旧|前回|嘘|うそ|以上|以下|未満|満点|or\b|または|もしくは|あるいは|か\b|か?[0-9]か|～|~|〜)|"
    r"\?|[かな]も(?:\s|$)|とは(?:言|限|思)え?な|ではな|じゃな|不正解|間違い(?!な)|誤り|違いま|違う$|嘘|冗談|満点|確率|可能性|も可|でも(?:可|良|よ|い)|\bwrong\b|\bincorrect\b|\bnot\b|n't\b|点中|以上|以下|未満|または|もしくは|あるいは"
)

_PREDICATE = re.compile(
    rf"(?:{_KIND}(?:(?:{_STATES})|(?:{_SELF})(?:{_THINK})?|{_THINK}|{_RIGHT}(?:{_SELF})?(?:{_THINK})?|{_CHOOSE})?{_END})"
)
_VERB = re.compile(rf"(?:{_DOES})(?:{_THINK}|の?よう(?:です|だ)|{_SELF})?{_END}")
_AFTER_WORD = re.compile(rf"{_QUOTE_END}{_TAG_END}(?:[ \u3000](?=[でだがとに]))?")
_AFTER_SENTENCE = re.compile(rf"{_QUOTE_END}{_TAG_END}[ \t\u3000]*")
_QUOTES = re.compile(_QUOTE_END)
_TAG_BEGINS = re.compile(r"</?[a-z|▁]|<\|")
_DASHES = re.compile(r"(?:[\-–—―~〜ー…・]{2,}|[\-–—―…])\s*(?:$|\n)")
_EXPLAINED = re.compile(
    r"[、,;:\-–—\s]+(?:(?:その)?(?:理由|根拠|解説|説明|補足)|なぜ|というのも|because\b|since\b|reason|explanation)"
)
_REST_OF_SENTENCE = re.compile(r"[^。\n!?]*")
_GIVES_REASON = re.compile(
    r"(?:から|ため|ので)(?:です|だ)?\s*$|ので|^\s*(?:because|since|as|given|which means)\b|^\s*not\s"
)
_ASKED = re.compile(r"[。!.\s]*\?")
_NUMBER_GOES_ON = re.compile(r"\.+\d|\.\.")
_DOTS = re.compile(r"\.\.+\s*[^\s.]")


def answer_pattern_end(text: str, end: int, verbal: bool = False) -> int | None:
    """Where the words end that make the answer before `end` one that is given; None if it is not given.

    `verbal`: whether the answer may be the stem of a verb, as 矛盾 is in 矛盾しています.
    """
    position = _end(_AFTER_WORD, text, end)
    counted = _COUNTED.match(text, position)
    if counted:
        position = counted.end()
    gloss = _GLOSS.match(text, position)
    if gloss:
        inside = next(group for group in gloss.groups() if group is not None)
        if _GLOSS_BAD.search(inside):
            return None
        position = _end(_QUOTES, text, gloss.end())
    tails = [_PREDICATE.match(text, position)]
    if verbal and not gloss:
        tails.append(_VERB.match(text, position))
    for tail in sorted((t for t in tails if t), key=lambda t: -t.end()):
        closed_end = _closed(text, tail.end(), tail.end() == position)
        if closed_end is not None:
            return closed_end
    english = _EN.match(text, position) or _EN_REASON.match(text, position)
    return _closed(text, english.end(), False, english.re is _EN_REASON) if english else None


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _closed(text: str, position: int, bare: bool, reason: bool = False) -> int | None:
    """The end of a sentence, or of a clause that only a reason follows; None if something else follows.

    `bare`: the answer stands there without any predicate.
    """
    because = _REASON.match(text, position)
    if reason:
        return position
    # What is a reason for something else, as in 「好評だったので買いました」, is no answer.
    if because and not bare and _REASON_END.match(text, because.end()):
        return because.end()
    inside = _end(_AFTER_SENTENCE, text, position)
    rest = text[inside : inside + 1]
    number = text[position - 1 : position].isdigit()
    if rest == "." and (_NUMBER_GOES_ON if number else _DOTS).match(text, inside):
        return None
    if rest and rest in "。!." and _ASKED.match(text, inside):
        return None
    if not rest or rest in "\n。!.":
        return inside
    if rest == "<" or text.startswith("{", inside):
        return inside if _TAG_BEGINS.match(text, inside) else None
    if not number and _DASHES.match(text, inside):
        return inside
    if _EXPLAINED.match(text, position):
        return inside
    if rest in "、,;":
        sentence_rest = _REST_OF_SENTENCE.match(text, inside + 1)
        if sentence_rest and _GIVES_REASON.search(sentence_rest.group()):
            return inside
    return None


# --- before it ------------------------------------------------------------------------------------------

_ADVERB = re.compile(
    r"(?:おそらく|恐らく|多分|たぶん|きっと|明らかに|もちろん|勿論|当然|確かに|やはり|やっぱり|つまり|要するに|すなわち|結局|結論として(?:は)?|"
    r"(?:全体|総合|基本|最終|一般|客観|相対)的に(?:は|見て|みて|判断して)?|全体として(?:は)?|この場合(?:は)?|ここでは|今回は|大変|とても|非常に|かなり|極めて|概ね|おおむね|ほぼ|"
    r"十分(?:に)?|互いに|お互いに|完全に|はい|ええ|うん|では|それでは|なので|だから|そのため|それで|ですから|ゆえに|したがって|従って|よって|"
    r"(?:私|僕|わたし|自分|俺)(?:なら|としては)|(?:選択肢|番号|記号|ラベル|オプション):?)[、,\s]*$"
)
_REASONED = re.compile(
    r"(?:[いうただるす]|な)(?:ので|から|ため|ために)[、,]?\s*$|(?:ことから|[のる]で|して|って|られて|ており|以上)[、,]\s*$|(?:(?:選(?:ぶ|択する)|答える|回答する|言う|いう|見る|みる|考える|判断する|比べる|比較する|評価する|表す|する)と|"
    r"(?:選ぶ|言う|いう|答える)?(?:とすれば|としたら|なら)|(?:言え|いえ|選べ|答えれ)ば|の?(?:中|うち)(?:から|では?|は)?|の(?:なか|選択肢)(?:から|では?))[、,]?\s*$"
)
_INSTEAD = re.compile(r"[^、,。\n]{1,20}?[」』”\"'）)]?(?:では|じゃ)?(?:なく(?:て)?|ありません)[、,]?(?:むしろ)?$")
_CONDITION = re.compile(
    r"もし|仮に|例えば|たとえば|^\s*例[:、]|(?:なら|ならば|れば|たら|場合(?:に?は|に)?|(?:とき|時)に?は?)(?:[、,は]|\s*$)|\bif\b|\bunless\b|\bwhen\b"
)
_SUPPOSED = re.compile(r"もし|仮に|例えば|たとえば")
_ACT = re.compile(
    r"(?:選ぶ|選択する|言う|いう|答える|どれか|いずれか|どちらか|評価する|あえて|強いて|私|僕|わたし|自分|俺)(?:とすれば|としたら|と?言えば|と?いえば|なら)[、,]?\s*$|"
    r"(?:選べ|答えれ)ば[、,]?\s*$|(?:この|その)場合は?[、,]?\s*$"
)
_TOPIC = re.compile(r"(?P<topic>[^、,。\n]{1,60}?)(?:は|も)[、,]?$")
_CASE = re.compile(r"(?:[にでとへ]|から|まで|より|のに|ために|とき|時)$")
_BAD_TOPIC = re.compile(
    r"(?:な[いく]|ませ[んぬ]|ざる)(?:の|もの|こと|選択肢|番号|答え|方|ほう|語|言葉|記号|ラベル)?$|ず$|不|非[^常]|未|誤|間違|違|以外|除|ほか|他|嫌|逆|反対|対義|例|もし|仮に|昔|以前|前回|前の[^文提]|先ほど|さっき|次点|番目|[二三]位|惜し|迷|悩|"
    r"候補|友人|友達|人々|多くの|通常|誰|一部|[前後]半|表面|見た目|一見|当初|最初|初め|期待|疑|可能性|紛らわし|引っか|罠|差|[数率度量値歳]$|先生|生徒|学生|太郎|花子|(?:さん|氏|君)$|個|最[高大低小]|平均|合計|点$|"
    r"残り|別の|他の|隣の|店員|彼|彼女|人気|理由|条件|意味$|定義|質問|選択肢[にの]|という"
)
_SUBJECT = re.compile(
    r"(?:書き手|レビュ(?:ー|アー)|評価|(?:この|その|本|当)(?:商品|製品|本|作品|人|方|文|店|場合)|全体|内容|文章|文|筆者|投稿者|著者|作者|購入者|使用者|利用者|感情|気持ち|"
    r"意見|コメント|結論|総合|トーン|印象|感想|関係|二つ|2つ|二文|両者|両方|前提|仮説|それ|これ|こちら|答え|正解|判定|ここ|今回|口コミ|文脈|性質|分類|態度|ラベル|"
    r"(?<!文)[a-z\d]{1,2})$"
)
"""What a judgement may be said of, at the end of a topic."""
_PAIR = re.compile(r"(?:前提|仮説|両者|二つ|2つ|二文|両文|これら|互い|(?:^|[のと一二])文\d?)(?:には?|とは?|が)$")
"""The two sentences of which something is said, before a verb."""
_SELF_TOPIC = re.compile(r"(?:私|僕|わたし|俺|自分|我々|[aa]i)(?:は)?[、,]?$")
_OTHER_FIRST = re.compile(
    r"(?:または|又は|もしくは|若しくは|あるいは|或いは|それとも|ないしは?|および|及び|ならびに|かつ|とか|より|よりは|ほどでは)$"
)
_OBJECT = re.compile(
    r"(?:[^、。\n]{0,40}(?:は|が))?(?:仮説|結論|後者|文\d|二文目|第二文|それ|これ|一方の文|次の文)を$|(?:前提|仮説|文\d|両者|二つ|互い|一方|それ)(?:[はがも]|(?:と|に))(?:[^、。\n]{0,20}(?:と|に|は))?$"
)
_EN_HEAD = re.compile(
    r"(?:^|[\s.,:;!])(?:(?:it|this|that|they|answer|choice|option|number|label|sentence|sentiment|(?:relationship|"
    r"relation|similarity|similarity score|score|rating)(?:\s+(?:between|of)\s+[a-z0-9 ]{1,40}?)?|"
    r"review|result|verdict|classification)(?:'s|\s+is|\s+are|\s+should be|\s+would be|\s+must be|"
    r"\s+seems(?:\s+to\s+be)?|"
    r"\s+(?:looks|feels)(?:\s+like)?|\s+appears\s+to\s+be)(?:\s+(?:clearly|definitely|probably|likely|a|an|the|option|choice|number|label))*|"
    r"(?:i|we)(?:\s+would|\s+will|\s+can|'d|'ll)?(?:\s+(?:probably|definitely|therefore|say|think|believe|guess|choose|select|pick|answer|give|go\s+with|rate|assign|conclude|classify|label|score|"
    r"it|that|is|as|them|this|the|these|two|pair|sentences|similarity|a|an|option|choice|number|answer|at|of|be|to|with|score|rating|review))*|"
    r"(?:expresses|conveys|shows|has|gives)(?:\s+(?:a|an|the|clearly|very|overall))*|"
    r"(?:option|choice|number|label))[\s:,]*$|"
    r"^(?:(?:therefore|thus|hence|so|clearly|definitely|probably|sure|yes|final|my|the|correct|answer|option|choice|number|label)[\s:,]*)+$"
)
_EN_BAD = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|hardly|barely|scarcely|without|unless|whether|if|maybe|"
    r"rather than|instead of|far from|anything but|almost|nearly|doubt|"
    r"deny|denies|reject|rejects|rule|rules|exclude|wrong|incorrect|false|difficult|hard|impossible|"
    r"tricky|unclear|than|least|most|over|under|up|down|would have|could have|was|were|used|thought|"
    r"said|previous|earlier|initial|original|old|his|her|their|someone|others|another|user|users|"
    r"example|sample|max|maximum|min|minimum|lowest|highest|top|average|mean|total|full|possible)\b|n't"
)
_EN_INSTEAD = re.compile(r"\bnot\b[^.\n]{1,80}\bbut(?:\s+(?:rather|instead))?(?:\s+(?:it is|is|a|an))*$")
_ONLY_DEGENERATE = re.compile(rf"[\s{DEGENERATE_CHARS}]*")
_HEADED = re.compile(
    r"\s*[\[【#*(]*\s*(?:分析|考察|思考|検討|analysis|analyze|think|thinking|reasoning)\s*[\]】*)]*\s*:?[\s*]*"
)
"""A heading of the part that leads to the answer."""
_TAGGED = re.compile(
    r"(?:<(?:answer|label|final_answer|output|response|回答|答え|b|strong|em|i|u|p)>|\\boxed\{|\\text\{|\\fbox\{)+\s*$"
)


def is_condition(head: str) -> bool:
    """Whether the words before an answer make it hold only under a condition, as in 「もし…なら、答えは2」."""
    if _ACT.search(head):
        return _SUPPOSED.search(head) is not None
    return _CONDITION.search(head) is not None


def is_marked(text: str, start: int) -> bool:
    """Whether a mark such as `<answer>` or `\\boxed{` stands before an answer."""
    return _TAGGED.search(text, max(0, start - 40), start) is not None


def is_presented_as_answer(head: str, verdict: bool, verbal: bool = False, symbol: bool = False) -> bool:
    """Whether the words before an answer, from the beginning of its sentence on, present it as one.

    Args:
        head: those words, folded.
        verdict: whether the answer is a word that judges (満足, 矛盾) and not a thing: what is judged has to be named.
        verbal: whether a verb follows that the answer is the stem of.
        symbol: whether the answer is a number or letter of a choice: what may bear one by itself has to be an answer.
    """
    if _TAGGED.search(head) or _HEADED.fullmatch(head):
        return True
    text = head.lstrip(OPENERS + CLOSERS)
    if _REASONED.search(text) and not is_condition(text):
        return True
    while True:
        bare = text.rstrip("「『“\"'‘(（[【<〈《{*_`〝«・\\ \t\u3000")
        shorter = _ADVERB.sub("", bare)
        if shorter == bare:
            break
        text = shorter
    if not bare or _ONLY_DEGENERATE.fullmatch(bare):
        return True
    if is_condition(bare):
        return False
    if _INSTEAD.search(bare) or _REASONED.search(bare):
        return True
    if re.search(r"[a-z]", bare):
        if _EN_INSTEAD.search(bare):
            return True
        return _EN_HEAD.search(bare) is not None and _EN_BAD.search(bare) is None
    if verbal and _OBJECT.search(bare):
        return True
    if _SELF_TOPIC.search(bare):
        # 「私は中立です」 speaks of the speaker; 「私は2が正しいと思います」 does not.
        return not verdict
    if _OTHER_FIRST.search(bare):
        return False
    topic = _TOPIC.search(bare)
    if not topic:
        return verbal and _PAIR.search(bare) is not None
    topic_text = topic.group("topic")
    if _CASE.search(topic_text) or _BAD_TOPIC.search(topic_text):
        return False
    return not (verdict or symbol) or (_SUBJECT.search(topic_text) is not None and not _SELF_TOPIC.search(topic_text))
