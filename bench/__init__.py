"""The benchmark behind ``make bench``: ratios taken in one run, like with like. Not part of the package."""
