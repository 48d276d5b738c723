"""What an edge and its county say to each other beside STOW-RS (PS3.18 10.5): names of headers and addresses."""

from __future__ import annotations

#: Headers of one part of a STOW-RS request.
#: AE title of the device that sent the instance to the edge.
DEVICE = "Sumu-Device"
#: When the edge acknowledged it, ISO 8601 with its zone.
RECEIVED = "Sumu-Received"
#: The edge's own name of the association that brought it.
ASSOCIATION = "Sumu-Association"
#: SHA-256 of the data set. In a part: what it must be; in an answer: what the county holds, in the order of its references.
SHA256 = "Sumu-SHA256"
#: How the pixels of a part or a piece were predicted (:mod:`pacs_bridge.edge.prediction`); the county restores them.
PREDICTION = "Sumu-Prediction"

#: STOW-RS.
STORE = "/dicom-web/studies"
#: Whether the county answers, and knows the edge.
LINE = "/api/edge/line"
#: Associations that have ended at the edge, with everything of theirs forwarded.
ENDED = "/api/edge/associations/ended"
#: A large instance in pieces, under the SHA-256 of its data set.
PIECES = "/api/edge/pieces"

#: Headers of a piece: where in the file it begins, and how long the whole file is.
OFFSET, WHOLE = "Sumu-Offset", "Sumu-Whole"
#: The largest piece that a county takes, as it stands in the file.
LARGEST_PIECE = 64 << 20
#: Media type of the receipts that name the hash of each instance; DICOM's own answers have no place for it.
RECEIPTS = "application/json"
