"""The auditor: what a published score, or a whole leaderboard, is consistent with.

auditor                the two functions that others call
benchmarks             what is known of the data and the systems
reported_score         a score as it is printed: digits, scale, range
grim                   which numbers of right answers have these digits (the GRIM test)
intervals              intervals and tests from values and numbers of items alone
query                  one score that is looked into, and constant answers
score_audit            what it is consistent with
published_comparison   the published scores beside it
table_parser           the cells of a leaderboard as a file or text
table                  which of its columns is what
column_scores          one column as scores on one scale
leaderboard_audit      what the leaderboard is consistent with
sentences              the findings as sentences
published              scores that come with the application
"""
