"""The auditor: what a published score, or a whole leaderboard, is consistent with.

facts      what is known of the data and the systems
printed    a score as it is printed: digits, scale, interval
exact      which numbers of right answers have these digits
apart      intervals and tests from values and numbers of items alone
score      what one score is consistent with
table      a leaderboard as a file or text
board      what a leaderboard is consistent with
wording    the findings as sentences
published  scores that come with the application
"""
