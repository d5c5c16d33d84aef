"""A video made anew: a run's tables drawn into it, or its faces obscured.

:mod:`reports.video.labels` says what the tables know of each moment, :mod:`reports.video.overlay` and
:mod:`reports.video.strip` draw it; :mod:`reports.video.faces` looks for faces in every frame,
:mod:`reports.video.masks` says what is hidden, :mod:`reports.video.review` where a person should look;
:mod:`reports.video.make` goes through the frames, :mod:`reports.video.write` and :mod:`reports.video.sound` write them.
"""
