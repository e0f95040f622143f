"""Near misses: texts that hold a label, a choice or a number and that no careful person takes for that answer.

One text a line; a line break within a text is written as ⏎.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.scoring.reading.asks import JNLI, JNLI_EN, KANA, LETTER, MARC, MARC_EN, NUMBER, TEXT, score

JNLI_TEXTS = """
矛盾点はありません。
矛盾のない文です。
矛盾なく両立します。
矛盾を含まない。
矛盾がないか確認します。
矛盾は感じられない。
含意関係は成り立たない。
含意関係にない。
含意関係が認められません。
中立的な文ではない。
中立ではなく含意でもない。
矛盾ではなく、含意でもなく。
含意の定義は、前提から仮説が言えることです。
含意：前提が正しければ仮説も必ず正しい
矛盾 - 両方が同時に成り立たない
含意 = 前提から言える、矛盾 = 両立しない
私は中立です。
AIとして中立です。
中立を保ちます。
中立でありたいと思います。
「含意」とは何ですか。
含意が何か分かりません。
矛盾について教えてください。
関係は含意か
関係は「含意」ですか、それとも「矛盾」ですか。
選択肢：含意、矛盾、中立
ラベル：含意, 矛盾, 中立
関係：前提が正しければ「含意」
「含意」を選ぶのは早計です。
矛盾と断定するには早い。
矛盾と決めつけるのは良くない。
矛盾という判断は避けたい。
矛盾に見せかけて中立
矛盾のふりをした含意
矛盾の一歩手前
ほぼ矛盾に近いが中立
中立とも矛盾とも取れる
含意を示すには情報が足りない。
矛盾を示す証拠はない。
矛盾を裏付ける情報がない
矛盾が解消されています。
矛盾を避けています。
矛盾を解く必要がある。
矛盾は解決しました。
前は矛盾でした。
元は含意でしたが変更しました。
誰もが矛盾と答えるでしょうが
矛盾とした人もいた
もし矛盾であれば
矛盾であれば嬉しい
矛盾であることを証明せよ。
矛盾だったら1、そうでなければ0
含意→はい
含意 ○ 矛盾 ×
含意○、矛盾×、中立×
含意（20%）、矛盾（30%）、中立（50%）
含意 0.2 矛盾 0.3 中立 0.5
含意の確率は0.1です。
含意率：10%
矛盾指数 3
[ ] 含意
□含意
☐ 含意 ☑ 矛盾 ☐ 中立
含意 vs 矛盾
含意ないし中立
含意、ないしは中立です。
含意とまではいかないまでも中立とも違う。
含意なんかじゃない
矛盾などしていない
矛盾なんてどこにもない
矛盾のかけらもない
矛盾と呼べるものはない
矛盾とするには足りません
矛盾か？いや、違う。
矛盾するものではありません。
矛盾することはありません。
矛盾しているとするのは誤解です。
矛盾しているという主張は成り立ちません。
矛盾しているとの指摘は当たらない。
両者が矛盾すると考えるのは誤りだ。
含意すると結論づけるのは不可能です。
含意するとは到底言えまい。
含意するはずもない。
含意しかねる
含意し得ない
含意できない
含意されない
含意されてはいない
含意されるとは限らない
含意されているようには見えない。
中立と呼ぶべきではない
中立にすべきではない
中立でいいのだろうか
中立でいいわけがない
中立は無理
中立は論外です。
中立は選べません。
中立は考えられない。
中立はパス
中立はNG
中立はダメです。
中立を選んではならない。
中立を選択しないでください。
中立を選ぶと間違えます。
中立と書くと減点です。
中立と答えたら不正解でした。
中立と答えてはいけない。
中立だけは違う
中立だけはありえない
中立だけではない
中立に限らない
中立の逆
中立の否定
反中立
非矛盾
無矛盾です。
不含意
脱中立です。
矛盾：該当なし
矛盾：検出されず
矛盾＝無
矛盾…なし
矛盾／なし
矛盾、なし
矛盾　０％
矛盾 | なし
| 矛盾 | 0.1 |
| 矛盾 | なし |
矛盾度 0
矛盾している可能性は低い。
矛盾している部分は見当たらない。
矛盾してるとは思えん
矛盾してへん
矛盾しとらん
矛盾しちゃいない
矛盾とかじゃない
矛盾っぽくない
矛盾かといえばそうでもない
矛盾かと問われれば否
矛盾というより中立
矛盾というほどではないが
矛盾すると言えなくはない
矛盾すると言えなくもないです。
矛盾だと断言できる根拠がない。
含意でないことはない
含意でないとも言い切れない
含意にはならない。
含意にはなりません。
含意とはなりません
含意と見なすことはできません。
含意と認めるわけにはいかない
含意に反する
含意に否定的です。
含意を疑う
含意を退ける
含意を支持しない
含意は支持されません。
含意は棄却されます。
含意は不成立
含意は偽です。
含意は成立しない。
含意の否定です
含意が成り立つとは言えない
含意が成り立たない。
含意が否定される。
含意が疑わしい。
「含意」ではなく「含意しない」
中立どころか
中立どころではない
中立ばかりではない
中立のみではない
中立には見えない
中立に見えるが実は違う
中立に見える。
中立にはほど遠い
中立の線は消えた
中立はない。
中立はないでしょう。
中立はないと思います。
中立はまずない
中立なんてことはない
中立でしょうか？いいえ。
中立ですか。違いますか。
中立…ではない
中立（ではない）
中立（いいえ）
中立（仮）
中立（？）
中立？？
「中立」？
中立なのか矛盾なのか
中立、と言いたいが矛盾
中立と見せかけて
中立と言われている。
中立と言われています
中立とされていた
中立だとされる。
中立らしい
中立のはず
中立のはずだったのに
中立であるべきか
中立であるべきです
中立であってほしい
中立であれ
中立にしよう
中立にしてください
中立にしますか
中立に一票
以下は間違った回答例です：矛盾
悪い例：矛盾
ダメな例：矛盾
NG例：矛盾
×：矛盾
× 矛盾
✗ 矛盾
❌ 矛盾
誤：矛盾
誤り：矛盾
誤答：矛盾
偽：矛盾
否：矛盾
NOT 矛盾
not 矛盾
!矛盾
¬矛盾
非 矛盾
≠矛盾
~矛盾
答え≠矛盾
答え：矛盾ではない
答え：矛盾なし
答え：矛盾？
答え：矛盾以外
答え：「矛盾」以外
答え：矛盾か中立
答え：矛盾/中立
答え：矛盾は含まれない
答え：矛盾しない
答え：矛盾しません
答え：矛盾のない関係
答え：矛盾とは言えない
答え：矛盾に非ず
答えは矛盾でしょうか
答えは矛盾ではないでしょうか
答えは矛盾じゃないかな
答えは矛盾とは別のもの
答えは矛盾の逆です
答えは矛盾の反対の含意です
答えは矛盾だった（過去形）が今は違う
答えが矛盾なら困る
答えが矛盾だとしても
答えに矛盾があります。
答えに矛盾がある
回答に矛盾が見られます
前の回答に矛盾があります。
説明が矛盾しています
あなたの質問は矛盾しています。
指示が矛盾しています。
質問文に矛盾があります。
ルールと矛盾します。
事実と矛盾する主張です。
過去の発言と矛盾します。
矛盾⏎0%
矛盾⏎なし
含意⏎×
中立⏎いいえ
"""

JNLI_EN_TEXTS = """
The premise fails to entail; entailment is out of the question.
There's hardly any contradiction.
I see no contradiction.
without contradiction
It avoids contradiction.
free of contradiction
contradiction-free
The lack of contradiction is clear.
Neither entailment nor neutral applies.
It would be neutral if the time were given.
It might have been entailment.
One might say contradiction, but no.
Some would call it neutral.
Many people answer neutral.
He said neutral.
"neutral", he said.
As an AI, I am neutral.
I remain neutral.
I try to stay neutral.
The tone is neutral but the label isn't.
entailment: the hypothesis follows; contradiction: it cannot be true; neutral: neither
Possible labels: entailment, contradiction, neutral
Label options are entailment and neutral
Choose one of entailment, contradiction, neutral
entailment|contradiction|neutral
(entailment / neutral)
entailment -> contradiction
from neutral to entailment
entailment-like
quasi-neutral
neutral-ish
semi-neutral
more neutral than contradiction
rather than neutral
other than neutral
except neutral
but neutral is not right
Neutral is too weak.
Neutral seems off.
neutral cannot be the case
neutral is out
neutral has been ruled out
neutral: false
neutral=no
neutral, which is wrong
neutral (incorrect)
"neutral" is an incorrect answer.
To answer neutral would be a mistake.
Do not answer neutral.
Don't say neutral.
Avoid neutral.
What is neutral?
What does entailment mean?
Whether it is neutral is unclear.
It is unclear if it is neutral.
I'm not sure it's neutral.
I can't say it's neutral.
It is difficult to say it is neutral.
You'd be wrong to think it is neutral.
Is this neutral or not?
entailment, or is it?
entailment ... or not
0% neutral
neutral 0
Neutral – 10 %
"""

MARC_TEXTS = """
満足です。でも二度と買いません。
価格以外は満足です。
価格には満足です。
期待ほど満足ではない
満足かと言われると微妙です。
満足いくものではない
満足のいかない買い物
不満足とまでは言わない
不満なく使えています。
不満はあるものの満足
不満点を挙げるなら色です。
不満を探すほうが難しい。
満足度は星三つ
満足度80%
満足感が薄い
自己満足です。
高評価をつけたいところですが
高評価が多いので買った。
高評価は納得できない。
好評発売中です。
好評につき完売
低評価の理由が分からない。
低評価をつける人の気が知れない。
低評価に惑わされないで
批判的に読むべき本
批判的な意見もあるが
好意的に見ても星一つ
好意的な意見ばかりではない
否定のしようがない良さ
否定しようがありません。
否定的な意見は少数です。
否定的な意見は見当たりません。
肯定的な要素は皆無
肯定的な部分もある。
肯定も否定もない
肯定と否定の間
肯定か否定かと言われれば
肯定派です
肯定しがたい
肯定し難い内容です。
肯定とは真逆
ポジティブな言葉は一つもない。
ポジティブに考えましょう。
ポジティブとネガティブが混在
ネガティブな要素はほとんどありません。
ネガティブキャンペーン
ネガティブなことは書きたくないのですが
レビュー：とても満足です
前作は好評でした。
妻は満足のようです
子どもは満足しています。
買う前は否定的でした。
評価が肯定か否定かは読み手による
「肯定」か「否定」か
「肯定」と「否定」のどちらかで答えます。
"""

MARC_EN_TEXTS = """
less positive
not so positive
more negative than positive
I'm positive it will break.
I am positive.
I'm positive that
positive about the color only
It started positive.
positive at first
mostly negative reviews online
no negative points
nothing negative
nothing positive to say
free of negative comments
false positive
a false positive
positive/negative: ?
There are positive and negative aspects.
Although positive at first, it fails.
The positive side is the price.
The only positive is the price.
a positive number
HIV positive
negative 5
The negatives: none
negative? positive?
"""

NUMBER_TEXTS = """
3は選択肢にありません。
3は砂漠です。
0は海、1は川、2は山の頂上、3は砂漠、4は図書館です。
選択肢は0から4です。
番号は0〜4です。
番号：0-4
番号(0〜4)：
答えは0〜4のどれかです。
問題番号：3
整理番号：3
電話番号：3
背番号は3です。
回答者：3
回答：3名
回答：3つ
解答数：3
解答欄3
答え：3年前
答え：3回目
答えは3個です。
答えは3と4の間です。
答え：3、4
答え：3 4
答え：3/4
答え：3.5
答え：30
答え：-3
答え：3%
答え：3：1
答え：3より大
答え：3以上
答え：約3
Answer: 3 of the choices
Answer 3 questions.
Option 3 of 4
Question 3
No. 3
No.3
#3 of 5
Chapter 3
page 3
3rd
3D
3x
x3
v3
3a
a3
3か月
3ヶ月
３匹
３℃
3℃
3kg
3 kg
¥3
3円
$3
3, 4, 5
3. 4. 5.
3) 4) 5)
① ② ③
①②③
第3の選択肢
3番線
3番手
3番人気です。
3番街
3名です。
残り3です。
あと3です。
正解率は3です。
難易度：3
優先度：3
順位：3
レベル：3
重要度は3です。
ヒント：3
ページ：3
個数：3
合計：3
件数は3です。
時間：3
年齢：3
1+2=3
1 + 2 は 3 です。
3引く1
3と思いきや2です
3のように見えて2
3、と見せかけて2
3を選ぶ人が多い
3を選びますか
3が正しいという意見もある
3が正しいなら
3が正解だった場合
3が正解に近い
3が答えだと思う人は多い
3が一番遠い
3が最も不適切
3だけ違う
3だけ仲間外れです。
3だ。と友人は言った。
彼は3を選んだ
太郎は3と答えました。
ユーザーは3と答えています。
3とだけ書いてください。
「3」と入力してください。
例：答えは3です
例えば、答えは3です。
答えが3なら水がない。
答えが3だとすると
仮に答えが3だとしても
答えは3だったはず
答えは3だった気がする
答えは3のはずだったが
答えは3とされていた
答えは3らしいが怪しい
3か、そうでないか
3 or so
about 3
roughly 3
around 3
nearly 3
3 at most
3 is my lucky number
I have 3 cats.
I like 3.
there are 3
3 people
2 is not 3
3 != 4
3 → 4
3⇒4
4ではなく3でもない
3でも4でもない
3も4も違う
3だとしたらおかしい
3？3？3？
3!?
3…いや
3、いや4
3じゃなくて4か2
3もあり得る
3もありです。
3も正解です。
3も候補です。
3が候補です。
候補は3です。
候補：3
有力なのは3ですが
迷いますが3か4
消去法で3以外
海を選ばないなら3
回答：3件
回答欄：3
正答数：3
得点：3
配点：3
3ポイント
3pt
3点満点
評点：3
レート：3
ランク3
3段階
3以外の数字
3ではなく、4でもなく
0〜3
0…4
0—4
0～4の整数
「0〜4」
（0〜4）
0以上4以下
0から4
0 から 4
0 - 4
0 through 4
0-based
1個選ぶ
1つ選んでください。
1つ選びます。
1つだけ
1番から4番
1番と3番
1番または3番です。
番号を1つ
番号1つだけを書きます。
3なし
3：なし
3：0%
3 | 20%
3（20%）
3：×
3：違う
3：誤り
3＝誤り
3…違う
3 no
3: no
3: false
3? no
3 - wrong
3 isn't it
not3
!3
≠3
¬3
~3
3の逆
3の次
3の前
3の隣
3の倍数
3の2乗
3番ではない
3番目ではない
3番は違う
三番目
三つ目です
三択です
一つ選ぶ
一択ではない
二者択一
五つ
四つの選択肢
答え：三つ
答え：一つ
答えは一つです。
答えは二つあります。
答えは三つ目です。
正解は一つではない
正解は一つです。
正解は1つです。
正解は1つだけです。
正解は 1 つ です
答えは1個です
選択肢は5つです。
選択肢は4です。
全部で4です。
4択です。
4択
4が最大
4まで
4まで選べます。
0始まりです。
0から始まります。
0は使いません
0から数えて3番目
1から数えて3
左から3つ目
上から3番目です。
下から2です。
"""

TEXT_TEXTS = """
海といえば夏です。
海です、と言いたいところですが川です。
山の頂上からは海が見えます。
図書館で本を借ります。
答えは海岸です。
答え：海外
海の家
海ほたる
海の日です。
川の字
砂漠のような場所
砂漠ではなく草原
砂漠みたいな所
砂漠と似た場所です。
砂漠から遠い場所
砂漠以外の場所です。
図書館前です。
図書館員
市立図書館です。
国会図書館
海沿いの町です。
海辺
深海
日本海です。
海。川。
海 川
海に近い川
海と川と砂漠
海から川まで
海はどこですか。
海ってどこ？
海がない場所です。
海のない県
海に囲まれた島です。
海よりも広い
海が好きです。
海へ行く
海も川も正解です。
海なのか川なのか
海かもしれないし川かもしれない
海とか
海など
海、山
海・山
海＆山
海 or 山
海(または湖)
海（湖も可）
海は違う。川も違う。
海は除外できます。
泳ぐ場所は海ではない。
水があるのは海と川です。
水がないのは海ではありません。
正解じゃないのは海です。
海が答えではない理由
「海」ではない。
『海』という本
「海」という字
海図
海（×）
海⏎川⏎砂漠
"""

LETTER_TEXTS = """
A cat.
A:
A is for apple.
Vitamin D
ビタミンD
Plan B
Grade: A
評価：A
ランク：B
B型
A5
A's
E-mail
D判定です。
Dランクです。
クラスDです。
A級
C言語
Team D
Mr. D
D-day
A〜Eのうちどれか
A,B,C,D,E
ABCDE
A B
a dog
I am a B student.
Not D.
D is wrong.
D?
D or E
everything but D
"""

KANA_TEXTS = """
ア行
エの段
エー
エアコン
オの音
アはどれ？
ア・イ・ウ
アイウエオ
エ？
エは違う
イとエ
イ、エ
エ以外
エを除く
ウそ
アー、わかりません。
えーと
エッ
エ！？
"""

SCORE_TEXTS = """
二つの文に共通する語は3です。
二つの文の違いは3です。
文1は3です。
文1の語数は3です。
共通する単語は3です。
3語が共通です。
一致する語数：3
一致率：3
3文字違い
3文字違いです。
助詞が1つ違うだけです。
違いは1だけです。
違いの数は1です。
差：1
1の差
1だけ違う
1ポイントの差
差は0.5です。
0.5の違い
0.5点減点します。
1点減点
1点引きます。
1点マイナス
満点から1を引きます。
5から1を引いて4
5-1=4
5−1で4です。
3+1
3×1
合計で3
合計3点です。
平均して3です。
平均点は3.5です。
基準は3です。
基準点：3
中間は2.5です。
中央値は2.5
上限は5です。
下限は0です。
最大は5です。
最小は0です。
最高点は5点です。
最低点は0点です。
満点は5点です。
5が最高です。
5が満点です。
0が最低です。
0は全く違う、5は同じです。
5は同じ意味です。
5.0は同じ意味を表します。
5.0なら同じ意味です。
5に近いほど似ている。
5点に近い
3に近いです。
3点に近い評価です。
3と4のあいだ
3ないし4
3もしくは4です。
3、もしくは4です。
3.5前後か4
3か、それ以上
3ちょっと
3ちょい
3ほどではない
3には及ばない
3に届くか届かないか
3には少し足りない
3をやや上回る
3を切る
3を割る
3止まり
3どまりです。
3から上
3から下
3くらいか4くらい
3つけたいが2
3をつけたいところですが
3でもいいし4でもいい
3でも4でもよい
3でもないし4でもない
3だと低い、4だと高い
3は低すぎます。
3は高いです。
3点は低い。
3点では足りない。
3点とは言えない高さ
3点差
3点満点
3点セット
3点リーダー
3点倒立
3点を超える
3点未満
3点以下です。
前回は3点でした。
以前の類似度は3です。
例文の類似度は3です。
例：類似度3
次の文の類似度は3です。
文3の類似度
類似度3の文
類似度は3から5の間です。
類似度は3〜5です。
類似度は0から5で表します。
類似度は5段階です。
類似度は5点満点です。
類似度は何点ですか。3点ですか。
類似度は3でしょうか。
類似度は3かな
類似度は3だろうか
類似度は3？
類似度は3と4のどちらか
類似度は3とは言えません
類似度は3ではない
類似度は3ほど高くない
類似度は3より高い
類似度は3以上
類似度が3なら
類似度が3の場合
類似度を3とするのは誤り
類似度を3とする理由はない
類似度を0から5で答えてください。
類似度：3/10
類似度：3割
類似度：30%
類似度：３０
類似度：3位
類似度：3, 4
類似度：3 4
類似度：高（3語）
スコア：3勝
スコア：3-2
スコア：3対2
得点は3対1
点：3、4
点が3つ
点3
点線3
視点は3です。
論点：3
欠点：3
利点は3
弱点は2です。
相違点は1です。
共通点：3
類似点は3です。
類似点：2
要点：3
接点は1です。
原点は0です。
沸点：100
減点：1
加点：1
採点：途中
零時
ゼロ距離
ゼロサム
三角
三度
三文
三択
三者三様
四捨五入
五感
二者択一
一部
一部だけ同じです。
一番似ている
一方
四苦八苦
三点セット
三点差
三点満点
三点五分
三と四
三か四です。
三以上
三未満
三ではない
ゼロではありません。
ゼロじゃない
ゼロに近い
ゼロか一
ゼロ以上
2 sentences
2 different sentences
The 2 sentences differ.
Sentence 1 and sentence 2
sentence 2
text 2 is longer
There are 3 differences.
3 differences
3 words differ
3 out of 10
3 of 5 words
3 in total
3 times
3 percent
3 stars
a 3-point scale
on a 3 point scale
scale of 0 to 5
from 0 to 5
between 0 and 5
0 = different, 5 = same
0 means different
5 means identical
5 is the maximum.
The maximum is 5.
The minimum is 0.
The scale is 5.
The difference is 1.
The difference is 1 word.
one or two
3 something
a bit more than 3
slightly below 3
close to 3
closer to 3 than 4
3 or 4
3 to 4
3 – 4
somewhere around 3 or 4
not quite 3
not even 3
just under 3
just over 3
no higher than 3
3 at most
3 at best
3 minimum
max 3
min 3
maybe 3, maybe 4
Should it be 3?
Would 3 be right?
Why 3?
3, right?
3? I don't know.
I can't give 3.
I refuse to give it 3.
I'd never give it 3.
He gave it 3.
Someone rated it 3.
They rated it 3.
The previous score is 3.
An example score is 3.
A wrong score is 3.
Version 3
v3.5
3.5.1
3,000
1/3
3^2
3e0
0x3
#3
No. 3
(3) 文が似ている
共通点：2点
共通する点は2
共通点が3
点は3つ
相違点は 2 です。
異なる単語は2です
違う語は1
違い：1
誤字：1
一致：3
不一致：2
一致する点は3です。
一致数 3
最高：5
最大：5
満点：5
上限：5
基準：3
目安は3です。
目安：3
類似度の最大は5です。
類似度の平均は3です。
類似度の最高は5です。
類似度の上限は5です。
類似度の基準は3です。
類似度の差は1です。
類似度の段階は5です。
スコアの範囲は0から5です。
スコアの最大値は5です。
スコアの例は3です。
点数の目安は3です。
評価の段階は5です。
more than 3 words
more than 4.
over 4.
3 is the average.
The average is 3.
The max score is 5.
The maximum score is 5.
The lowest score is 0.
The score range is 5.
The score can be 5.
The score could be 3.
The score should not be 3.
The score was 3 before.
The score might be 3 or 4.
I would not rate it above 3.
I would rate it above 3.
I would rate it at least 3.
I would rate it between 3 and 4.
I would rate it 3 or 4.
I would rate it 3-4.
I would rate it less than 3.
I would rate it 3 out of 10.
I would have rated it 3.
I wouldn't rate it 3.
I would rate it a 3 if they matched.
If I had to, I would not say 3.
You would rate it 3.
Would you rate it 3?
They would rate it 3.
3点台前半
3点台です
3点以下だと思います
3点未満だと思います
3点超です
3点強です
3点弱です
3点前後か4点
3点〜
〜3点
3点～4点
3点ー4点
3点―4点
3点から4点
3点と4点の間
3点か、4点か
3点もない
3点もいかない
3点にも満たない
3点には届かない
3点はない
3点はつけられない
3点はつけません
3点をつけません
3点をつけない
3点をつけるほどではない
3点をつけるか迷う
3点をつける人もいる
3点をつけてはいけない
3点をつけました、と彼は言った
3点を引く
3点を減点
3点を基準に
3点を超えます
3点の違い
3点の差です
3点の相違があります
3点が違います
3点が異なります。
3点が共通です
3点が共通しています
3点で一致
3点で異なります。
3点で共通しています
3点に分けられます
3点にまとめます
3点挙げます
3点です。1.主語 2.動詞 3.目的語
違いは3点です。
相違は3点です。
理由は3点です。
理由は3です。
根拠は2点です。
ポイントは3です。
ポイントは3点です。
要素は3点です。
特徴は2点です。
共通の要素は2点です。
条件は3点です。
注意点は3点です。
問題点は2点です。
変更点は1点です。
良い点は3点です。
同じ点は3点です。
似ている点は2点です。
似ているのは2点です。
違うのは1点です。
異なるのは1点です。
同じなのは3点です。
共通するのは2点です。
一致するのは3点だけです。
"""


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        pytest.param(JNLI.read, JNLI_TEXTS, id="JNLI"),
        pytest.param(JNLI_EN.read, JNLI_EN_TEXTS, id="JNLI_EN"),
        pytest.param(MARC.read, MARC_TEXTS, id="MARC"),
        pytest.param(MARC_EN.read, MARC_EN_TEXTS, id="MARC_EN"),
        pytest.param(NUMBER.read, NUMBER_TEXTS, id="NUMBER"),
        pytest.param(TEXT.read, TEXT_TEXTS, id="TEXT"),
        pytest.param(LETTER.read, LETTER_TEXTS, id="LETTER"),
        pytest.param(KANA.read, KANA_TEXTS, id="KANA"),
        pytest.param(score, SCORE_TEXTS, id="score"),
    ],
)
def test_nothing_is_read_from_a_near_miss(read: Callable[[str], str | float | None], texts: str) -> None:
    lines = [line.replace("⏎", "\n") for line in texts.strip("\n").split("\n")]
    assert [(line, read(line)) for line in lines if read(line) is not None] == []
