"""Grading a class through nbval: `course grade`, `course merge`, `course export`.

How a submission becomes a row, and where to read on:

    intake     names, files, zips, notebook      what was handed in, by whom, for which exercise; nothing is trusted
    engine                                       the exercise's own notebook with the learner's answers in it
    runner                                       that notebook through nbval, in a process of its own
    warm       provisioner, sandbox              where the kernel comes from, and what it may see and use
    grade      request, plan, store, cluster     a whole class: what is new, where it runs, what is kept
    publish    gradebook, feedback, pages, lms, exports, merge      what the instructor and the learners get

`model` holds the words that all of them use.
"""
