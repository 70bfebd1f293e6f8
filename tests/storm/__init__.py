"""The storm: many plays through all stages, under clusters and people that are killed with kill -9 at random."""
