"""`course pool`: the ledgers of a class become one experiment, in one page that names nobody.

    find     from files, folders and zips to the bytes of each ledger
    ledgers  one ledger's lines, checked: what can be counted, and why the rest cannot
    words    the texts of the course itself, the only ones that the page ever shows
    spread   the same piece of work on N machines: across them, and within each
    reasons  which machines lie far out, and what their provenance says about it
    guesses  the class's predictions and verdicts, counted
    figures  the pictures; page: the words and tables around them
    run      all of it in turn
"""
