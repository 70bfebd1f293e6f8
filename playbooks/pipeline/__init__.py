"""The pipeline: match → motion and route → owner → clocks, and the watcher of clocks.

Five set-based functions. Each claims its rows by a conditional UPDATE, moves them in one transaction, and is safe
twice, at once, and after `kill -9`: what a dead worker held is released with its transaction.
"""
