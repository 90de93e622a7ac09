"""One record per request, folded once, projected into several metric vocabularies at scrape.

`fold` is the only writer of counts; a vocabulary is a table; gauges are read from live state when somebody asks. This room imports the core
and nothing else of ours.
"""
