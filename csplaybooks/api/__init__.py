"""The shared bases of the REST API: every view, parser, filter and error of it stands on these.

They set every REST framework policy themselves, so that the host's `REST_FRAMEWORK` settings do not matter.
"""
