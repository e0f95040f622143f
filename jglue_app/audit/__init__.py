"""The auditor: what a published score, or a whole leaderboard, is consistent with.

facts      what is known of the data and the systems
printed    a score as it is printed: digits, scale, interval
exact      which numbers of right answers have these digits
apart      intervals and tests from values and numbers of items alone
asked      one score that is asked about, and constant answers
score      what it is consistent with
versus     the published scores beside it
grid       the cells of a leaderboard as a file or text
table      which of its columns is what
cells      one column as scores on one scale
board      what the leaderboard is consistent with
sentences  the findings as sentences
published  scores that come with the application
auditor    the two functions that others call
"""
