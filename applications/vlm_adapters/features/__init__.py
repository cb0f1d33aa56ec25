"""Features of frozen encoders, from image files to the tensors that training reads.

Three types hold them. Begin reading with ``store``.

- :class:`.store.FeatureTable`: features on disk. A table belongs to one data set, one encoder and
  one kind of view. Its rows are addressed by the path and the content of their image, so that only
  images without a row are ever encoded. Rows lie in files that are written once: killed commands
  lose no finished file, processes share an extraction, and a run reads its own rows only.
- :class:`.texts.ClassTexts`: features of the classes' prompts.
- :class:`.bundle.FeatureBundle`: all features of a small data set in one file that can be shipped.

``views`` turns an image file into views and encodes them. A training step sees views from a table,
or views that are encoded at every step.
"""
