"""What the auditor finds, in Japanese; the English sentences are in `audit/wording.py`."""

from __future__ import annotations

import re

from jglue_app.audit.wording import Fact, Found, fill, sentence

METRICS_JA = {
    "accuracy": "正解率",
    "acc_norm": "文字数で割った対数尤度による正解率（acc_norm）",
    "exact_match": "完全一致率",
    "f1": "F1",
    "char_f1": "文字 F1",
    "balanced_accuracy": "バランス正解率",
    "macro_f1": "マクロ F1",
    "mcc": "マシューズ相関係数（MCC）",
    "pearson": "ピアソン相関",
    "spearman": "スピアマン相関",
}
"""Metric → its name."""

TESTS_JA = {
    "shares": "二つの比率のスコア検定",
    "means": "二つの比率のスコア検定（0 から 1 までの値の平均には、最も広く見積もった検定になります）",
    "pearson": "フィッシャーの z 変換の差",
    "spearman": "フィッシャーの z 変換の差（分散は Bonett と Wright、2000）",
    "balanced_accuracy": "この値のバランス正解率がとりうる最大の標準誤差",
}
"""Test → its name."""

_PAIRS_JA = "出力が分からないので、別々の問題で測ったものとして比べています。モデルは同じ問題でつまずきやすいので、両方の出力があれば、対応のある検定でもっと小さな差も見分けられます。"

SENTENCES_JA: dict[str, tuple[str, str]] = {
    # --- one score: constants
    "constant": (
        "{score} は {n:,} 問中ちょうど {k:,} 問の正解です。{edition} のラベルで、いつも {answer} と答えたときのスコアです。",
        "このラベルでは {n:,} 問のうち {k:,} 問の正解が {answer} で、{score} と書かれる正解数はほかにありません。何を聞かれても同じ答えを返すモデルは、必ずこのスコアになります。きちんと答えるモデルが偶然このスコアになることもあります。",
    ),
    "constant_among": (
        "{score} に合うのは {n:,} 問中 {low:,}〜{high:,} 問の正解です。そのうち {k:,} 問は、{edition} のラベルでいつも {answer} と答えたときの正解数です。",
        "桁が少なく、どの正解数かは分かりません。",
    ),
    "constant_cut": (
        "{score} は {n:,} 問中 {k:,} 問（{full}）の端数を切り捨てた値です。{edition} のラベルで、いつも {answer} と答えたときのスコアです。",
        "四捨五入して {score} になる正解数は {n:,} 問中にはありません。{k:,} 問は四捨五入すると {rounded} ですが、{score} で始まります。このラベルでは {n:,} 問のうち {k:,} 問の正解が {answer} です。",
    ),
    "constant_balanced": (
        "バランス正解率だとすると、{score} はいつも同じ答えを返したときのスコアです（{classes} ラベルのうち 1 つ）。",
        "バランス正解率は、ラベルごとの正解率の平均です。いつも同じ答えを返すと、そのラベルでは全問正解、ほかのラベルでは全問不正解になります。どの答えだったかは、このスコアからは分かりません。",
    ),
    "constant_macro": (
        "マクロ F1 だとすると、{score} は {edition} のラベルでいつも {answer} と答えたときのスコア（{full}）です。",
        "そのラベルの適合率は {n:,} 分の {k:,}、再現率は 1 で、ほかのラベルの F1 は 0 です。",
    ),
    "constant_mcc": (
        "マシューズ相関係数の 0 は、いつも同じ答えを返したときのスコアです。",
        "答えが一定だと定義できないので、0 として数えられます。",
    ),
    "constant_correlation": (
        "相関の 0 は、すべての答えが同じ数だったときに、いくつかのシステムが書く値です。",
        "答えが一定だと相関は定義できず NaN になります。W&B 2023（8 月 10 日以降）と llm-jp-eval は、それを 0 とします。正解と無関係なだけの答えなら 0 の近くにはなりますが、最後の桁まで 0 になることはめったにありません。",
    ),
    "constant_nan": (
        "数にならない相関（NaN）は、いつも同じ答えを返したときの値です。",
        "答えが一定だと相関は定義できません。どの答えも同じ数か、同じ数とみなされています。",
    ),
    "default": (
        "{system} では読めない出力を {answer} とみなします。読める答えを一つも出さないモデルも、同じスコアになります。",
        "このスコアは、モデルの知識より出力の形を表しているかもしれません。出力を読むか、そのような既定値のない採点方法で採点し直してください。",
    ),
    "constants_unknown": (
        "{score} がいつも同じ答えのスコアかどうかは調べられません。",
        "この問題に {task} の各ラベルがいくつあるか、ここでは分かりません。",
    ),
    # --- one score: digits
    "fits_one": (
        "{score} は {n:,} 問中ちょうど {k:,} 問の正解です。",
        "書かれた小数は、四捨五入してそうなるすべての数を表します。{n:,} 問の比率のうち、そこに入るのは {k:,} 問 = {full} だけです。",
    ),
    "fits_range": (
        "{score} に合うのは {n:,} 問中 {low:,}〜{high:,} 問の正解です。",
        "最後の桁の 1 が 1 問分より大きいので、この桁数ならどんなスコアでも合います。問題数については何も分かりません。",
    ),
    "fits_cut": (
        "四捨五入して {score} になる正解数は {n:,} 問中にありません。端数を切り捨てれば、{k:,} 問 = {full} がこう書かれます。",
        "四捨五入せずに切り捨てる表もあります（Stability AI の README の一行がその例です）。四捨五入した表なら、このスコアは {n:,} 問の比率ではありません。",
    ),
    "fits_none": (
        "{score} は {sizes} 問の正解の比率ではありえません。",
        "近いのは {n:,} 問中 {k:,} 問 = {full} と {k_next:,} 問 = {full_next} ですが、四捨五入しても切り捨てても {score} とは書かれません。何回かの実行や複数のサブセットの平均、F1 やバランス正解率などの別の指標、別の問題数かもしれません。",
    ),
    "fits_sizes": (
        "問題数としては {fitting} 問に合い、{unfit} 問には合いません。",
        "n 問の比率は、整数を n で割った値にしかなりません。問題数は、知られているデータのものです（{sets}）。",
    ),
    "fits_every_size": (
        "知られている問題数のどれにも合います（{fitting} 問）。",
        "この桁数では見分けられません。問題数は、知られているデータのものです（{sets}）。",
    ),
    "fits_part": (
        "問題の一部だけで測ったとすれば、{sizes} 問に合います。",
        "時間を節約するため、一部の問題だけで評価するシステムがあります。この桁数なら、どのスコアでも合うわけではありません。",
    ),
    "mean_unchecked": (
        "{metric} の桁からは、問題数について何も分かりません。",
        "0 と 1 以外の値も平均するので、ほとんどどんな小数にもなります。",
    ),
    "balanced_range": (
        "バランス正解率 {score} のときの正解率は、{low} から {high} までありえます（{edition} のラベル）。",
        "少ないラベルも多いラベルと同じ重みで数えます。だから正解率とは比べられず、桁を見ても正解数は分かりません。",
    ),
    "system_size": (
        "{system} が採点する {task} は {sizes} 問で、{n:,} 問ではありません。",
        "このシステムのいつもの評価ではないことになります。問題数かシステムを確かめてください。",
    ),
    # --- one score: certainty
    "interval": (
        "95 % 区間は {low} から {high}（{n:,} 問）。",
        "比率のウィルソン区間です。同じような別の問題で測れば、スコアは変わります。こうして作った区間は、100 回に 95 回、同じような問題すべてでのスコアを含みます。",
    ),
    "interval_mean": (
        "95 % 区間は、広くて {low} から {high}（{n:,} 問）。",
        "0 から 1 までの値のばらつきは、正解・不正解のばらつきを超えないので、比率の区間（ウィルソン）を使っています。出力があれば、もっと狭くなります。",
    ),
    "interval_balanced": (
        "95 % 区間は、広くて {low} から {high}（{n:,} 問）。",
        "ラベルごとの正解数が分からないので、この平均になる組み合わせのうち最も広い区間です（正規近似）。",
    ),
    "interval_correlation": (
        "95 % 区間は {low} から {high}（{n:,} 問）。",
        "フィッシャーの z 変換によります（スピアマンの分散は Bonett と Wright、2000）。",
    ),
    "interval_none": (
        "{metric} の区間は、値だけからは求められません。",
        "一問ごとの答えが必要です。このアプリに保存された実行なら求められます。",
    ),
    "n_assumed": (
        "問題数は {n:,} 問とみなしました。",
        "{edition} の問題数です。違うなら、問題数を指定してください。",
    ),
    # --- one score: floors
    "below_majority": (
        "{score} は、{edition} のラベルでいつも {answer} と答えたときのスコア {floor} を下回っています。",
        "{n:,} 問のうち {k:,} 問がこのラベルです。毎回そう答えるだけで、これより高いスコアになります。",
    ),
    "at_majority": (
        "{score} は、{edition} のラベルでいつも {answer} と答えたときのスコア {floor} と区別できません。",
        "{n:,} 問のうち {k:,} 問がこのラベルで、その割合はスコアの区間に入っています。",
    ),
    "above_majority": (
        "{score} は、いつも同じ答えを返すときの最高スコア {floor} を上回っています（{edition} のラベルでいつも {answer}）。",
        "スコアの区間は、その割合より上にあります。",
    ),
    "below_silence": (
        "{score} は、{system} で読める答えを一つも出さないモデルのスコア {floor} を下回っています。",
        "{system} では読めない出力を {answer} とみなします。",
    ),
    "at_silence": (
        "{score} は、{system} で読める答えを一つも出さないモデルのスコア {floor} と区別できません。",
        "{system} では読めない出力を {answer} とみなします。その割合はスコアの区間に入っています。",
    ),
    "above_silence": (
        "{score} は、{system} で読める答えを一つも出さないモデルのスコア {floor} を上回っています。",
        "{system} では読めない出力を {answer} とみなします。",
    ),
    "silence_zero": (
        "{system} では、読める答えを一つも出さなければスコアは 0 です。",
        "読めない出力は不正解になります。",
    ),
    "silence_never": (
        "{system} では、必ず答えがあります。",
        "決まった答えを対数尤度で順位づけするので、読めない出力はありません。",
    ),
    "at_chance": (
        "{score} は、当てずっぽう（{classes} 分の 1）と区別できません。",
        "スコアの区間に、でたらめに答えたときの平均 {floor} が入っています。",
    ),
    "at_zero": (
        "{score} は 0 と区別できません。",
        "スコアの区間に 0 が入っています。答えは正解の値と無関係かもしれません。",
    ),
    # --- one score: what was published
    "same_digits": (
        "同じ数字で公表されているスコア：{who}。",
        "似ていないモデルのスコアが同じなら、いつも同じ答えを返しているか、表が写されたのかもしれません。",
    ),
    "published": (
        "公表されたスコア（同じサブセット・同じ指標）{all:,} 件のうち {same:,} 件と区別できません：{who}。",
        "{test}によります（5 % 水準）。" + _PAIRS_JA + "プロンプトや例題、ラベルもシステムによって違います。",
    ),
    "published_none": (
        "公表されたスコア（同じサブセット・同じ指標）{all:,} 件のどれとも区別できます。近いのは {who} です。",
        "{test}によります（5 % 水準）。" + _PAIRS_JA,
    ),
    "published_difference": (
        "いちばん近い {who} との差は {difference}、95 % 区間は {low} から {high}。",
        "二つの比率の差のニューコム区間です。" + _PAIRS_JA,
    ),
    "published_untested": (
        "公表されたスコア {all:,} 件のうち、近いのは {who} です。",
        "差があるかどうかは、値だけからは検定できません。",
    ),
    "published_empty": (
        "このサブセットと指標の公表されたスコアは、このアプリには入っていません。",
        "比べる相手がありません。",
    ),
    "relabelled": (
        "ラベルの版が違うだけで、最大 {share} 変わります。{n:,} 問のうち {k} 問のラベルが、{edition} と {other} で異なります。",
        "ある版のラベルによるスコアを、別の版のスコアと最後の桁まで比べることはできません。",
    ),
    # --- one score: how it was read
    "scale_open": (
        "{score} は {as_fraction} とも {as_percent} とも読めます。ここでは {as_fraction} と読みました。",
        "1 以下で小数の桁が少ない数は、どちらの表にもありえます。百分率の表なら「百分率」を選んでください（コマンドでは --percent）。",
    ),
    "scale_percent": (
        "{score} は百分率として読みました。割合では {value} です。",
        "1 を超える数、% のついた数、百分率と指定された数はこう読みます。",
    ),
    "scale_fraction": (
        "{score} は割合として読みました。百分率では {value} です。",
        "1 以下で小数が 3 桁以上の数、割合と指定された数はこう読みます。",
    ),
    "metric_assumed": (
        "指標は{metric}とみなしました。",
        "{task} には {others} もあります。そちらなら、指標を選んでください。",
    ),
    # --- a whole table
    "read_columns": (
        "{rows:,} 行。スコアとして読んだ列：{columns}。",
        "使わなかった列：{ignored}。",
    ),
    "read_columns_all": (
        "{rows:,} 行。スコアとして読んだ列：{columns}。",
        "使わなかった列はありません。",
    ),
    "board_constant": (
        "{column}：{who} は、{edition} のラベルでいつも {answer} と答えたときのスコアです（{n:,} 問中 {k:,} 問）。",
        "何を聞かれても同じ答えを返すモデルは、必ずこのスコアになります。きちんと答えるモデルが偶然このスコアになることもあります。",
    ),
    "board_constant_among": (
        "{column}：{who} は、{edition} のラベルでいつも {answer} と答えたときのスコアかもしれません（{n:,} 問中 {k:,} 問）。",
        "桁はこの正解数に合いますが、ほかの正解数にも合います。",
    ),
    "board_balanced": (
        "{column}：{who} は、いつも同じ答えを返したときのバランス正解率です（{classes} ラベルのうち 1 つ）。",
        "いつも同じ答えを返すと、そのラベルでは全問正解、ほかのラベルでは全問不正解になります。",
    ),
    "board_zero": (
        "{column}：{who} は 0 です。すべての答えが同じだったときに、いくつかのシステムが書く値です。",
        "答えが一定だと相関は定義できず（NaN）、0 とされることがよくあります。",
    ),
    "board_nan": (
        "{column}：{who} は数になりません（NaN）。いつも同じ答えを返したときの値です。",
        "答えが一定だと相関は定義できません。表のほかの 0 も、同じことかもしれません。",
    ),
    "board_default": (
        "{column}：{system} の表なら、いつも {answer} のスコアは、読める答えを一つも出さないモデルのスコアでもあります。",
        "{system} では読めない出力を {answer} とみなします。",
    ),
    "board_below": (
        "{column}：{all:,} 件のうち {count:,} 件が、いつも {answer} と答えたときのスコア {floor} を下回っています：{who}。",
        "スコアの区間が、このラベルの割合（{edition}）より下にあります。",
    ),
    "board_at": (
        "{column}：{all:,} 件のうち {count:,} 件は、いつも {answer} と答えたときのスコア {floor} と区別できません：{who}。",
        "スコアの区間に、このラベルの割合（{edition}）が入っています。いつも同じ答えを返すときの最高スコアです。",
    ),
    "board_impossible": (
        "{column}：{sizes} 問の正解の比率ではありえないスコア：{who}。",
        "四捨五入しても切り捨てても、こう書かれる正解数はありません。平均か、別の指標か、別の問題数かもしれません。",
    ),
    "board_range": (
        "{column}：スコアとしてありえない値：{who}。",
        "この列の表記ではスコアになりません。使わずに調べます。",
    ),
    "board_unread": (
        "{column}：数ではない欄：{who}。",
        "使わずに調べます。",
    ),
    "board_sizes": (
        "{column}：{count:,} 件すべてが {fitting} 問に合います。",
        "同じ桁数のでたらめな数なら、合うのは {expected} 件ほどです。",
    ),
    "board_mixed": (
        "{column}：割合と百分率が一つの列に混ざっています：{who}。",
        "1 を超えるスコアは {above:,} 件、そのほかのスコアは {below:,} 件です。多いほうの表記（同数なら百分率）の列として読みます。挙げたスコアは表記が違うのか、とても低いスコアなのか分からないので、使わずに調べます。表全体を一方で読むには「百分率」か「割合」を選んでください。",
    ),
    "board_open": (
        "{column} は割合として読みましたが、スコアも桁も少ないので確かではありません。",
        "百分率なら「百分率」を選んでください（コマンドでは --percent）。",
    ),
    "board_percent": (
        "百分率として読んだ列：{columns}。",
        "1 を超えるスコアは割合ではありえません。",
    ),
    "board_percent_said": (
        "百分率として読んだ列：{columns}。",
        "そう指定されています。",
    ),
    "board_fraction": (
        "割合として読んだ列：{columns}。",
        "% のついていないスコアに、1 を超えるものはありません。",
    ),
    "board_fraction_said": (
        "割合として読んだ列：{columns}。",
        "そう指定されています。",
    ),
    "board_over": (
        "完全一致率が F1 を上回っています：{who}。",
        "完全に一致した答えの F1 は 1 なので、F1 のほうが低くなることはありません。列が入れ替わっているかもしれません。",
    ),
    "board_twice": (
        "同じモデルが二行以上にあります：{who}。",
        "別々のモデルとして比べ、二行目からは番号をつけます。",
    ),
    "board_same": (
        "どの列も同じ数字です：{who}。",
        "行を写したか、一つのモデルに名前が二つあるか、答えがモデルによらないかのどれかです。",
    ),
    "board_top": (
        "{column}：最高の {best} と、ほかの {all:,} 件のうち {count:,} 件は区別できません：{who}。",
        "{pairs:,} 組を比べました（{n_said} 問）。p は{test}により、ホルムの方法で補正しています。" + _PAIRS_JA,
    ),
    "board_alone": (
        "{column}：{best} は、ほかのすべてより上です。",
        "{pairs:,} 組を比べました（{n_said} 問）。p は{test}により、ホルムの方法で補正しています。",
    ),
    "board_widest": (
        "{column}：区間は最も広く見積もっています。出力があれば、もっと多くのスコアを区別できるかもしれません。",
        "{metric}のもとになった一問ごとの値が分かりません。比べるのは{test}によります。",
    ),
    "board_groups": (
        "{column}：どの二つも区別できないグループ：{who}。",
        "一つのモデルが複数のグループに入ることがあります。「区別できない」はつながりません。A と B、B と C が区別できなくても、A は C より良いことがあります。",
    ),
    "board_untested": (
        "{column}：グループは作れません。",
        "この指標では、二つのスコアに差があるかどうかを値だけから検定できません。",
    ),
    "board_identical": (
        "{column}：{all:,} 件のスコアがすべて同じです。",
        "見分けるものがありません。",
    ),
}
"""Kind → what is so, and why."""


PUBLISHED = ("published", "published_none", "published_untested")
"""Findings that name published scores."""
SYSTEMS_JA = {"the JGLUE baselines": "JGLUE のベースライン"}
"""Title of a system → how it is called in Japanese, where it is not a name."""
EDITIONS_JA = {
    "MARC-ja dev, JGLUE v1.1": "JGLUE v1.1 の MARC-ja 検証データ",
    "MARC-ja dev, first release": "初版の MARC-ja 検証データ",
    "MARC-ja test": "MARC-ja テストデータ",
    "JSTS dev": "JSTS 検証データ",
    "JSTS test": "JSTS テストデータ",
    "JNLI test": "JNLI テストデータ",
    "JSQuAD dev": "JSQuAD 検証データ",
    "JSQuAD dev, W&B 2023": "W&B 2023 の JSQuAD 検証データ",
    "JSQuAD test": "JSQuAD テストデータ",
    "JCommonsenseQA test": "JCommonsenseQA テストデータ",
    "JCoLA in-domain dev": "JCoLA ドメイン内検証データ",
    "JCoLA out-of-domain dev": "JCoLA ドメイン外検証データ",
    "Nejumi Neo (100)": "Nejumi Neo の 100 問",
}
"""Name of a set of items → its name in Japanese, where they differ."""
_MORE = re.compile(r"^… \(\+(\d+)\)$")
_END = re.compile(r" \(([^()]*)\)$")


def told(found: Found, lang: str) -> tuple[str, str]:
    """What is so, and why, in the language of the visitor."""
    if lang == "en":
        return sentence(found)
    facts = {name: _fact(found.kind, name, value) for name, value in found.facts.items()}
    what, why = fill(SENTENCES_JA[found.kind], Found(found.kind, found.weight, facts), METRICS_JA, TESTS_JA, "、", "・")
    if found.kind in ("n_assumed", "published_difference"):
        # The space after a name in Latin letters is one too many after a Japanese one.
        what, why = (text.replace("データ の", "データの").replace("） との", "）との") for text in (what, why))
    return what, why


def system_title(title: str, lang: str) -> str:
    """The title of a system in the language of the visitor."""
    return title if lang == "en" else SYSTEMS_JA.get(title, title)


def model_name(name: str, lang: str) -> str:
    """The name of a published model in the language of the visitor."""
    if lang == "en":
        return name
    name = re.sub(r" \(([^()]*)\)", r"（\1）", name).replace(", fine-tuned", "（ファインチューニング済み）")
    return name.replace("）（", "、").replace("） ", "）")


def and_more(count: int, lang: str) -> str:
    """How many more there are after those that a list names."""
    return f" … (+{count})" if lang == "en" else f"…（ほか {count}）"


def _fact(kind: str, name: str, value: Fact) -> Fact:
    """A value with what is no name in it in Japanese; models of a table stay as they are written there."""
    if isinstance(value, tuple):
        return tuple(str(_fact(kind, name, member)) for member in value)
    if not isinstance(value, str):
        return value
    if name in ("edition", "other", "sets"):
        plain, space, n = value.rpartition(" ")
        return EDITIONS_JA.get(value) or (f"{EDITIONS_JA.get(plain, plain)}{space}{n}" if name == "sets" else value)
    if name == "system":
        return system_title(value, "ja")
    if name == "others":
        return METRICS_JA.get(value, value)
    if name == "columns" and value.endswith(" ?)"):
        return _END.sub(lambda m: f"（{m[1].replace(' / ', '・').removesuffix(' ?')} か）", value)
    if name == "who":
        value = _MORE.sub(lambda m: and_more(int(m[1]), "ja"), value)
        if kind in ("same_digits", "published_difference", *PUBLISHED):
            value = _END.sub(lambda m: f"（{'、'.join(system_title(p, 'ja') for p in m[1].split(', '))}）", value)
            return model_name(value, "ja")
        if kind == "board_groups":
            return re.sub(r" \((\d+)\)$", r"（\1）", value)
    return value
