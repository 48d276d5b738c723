"""Models: data sets, training, evaluation and export of our networks, and the bundles in which their weights are shipped.

Serving imports only the modules without torch: ``models.bundle`` and each model's ``preprocessing``.
"""
