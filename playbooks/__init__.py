"""What to do: playbooks, the evaluator, and the pipeline from match to owned play with running clocks."""
