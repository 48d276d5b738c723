"""Instances that the archive can keep but not show, written again in a transfer syntax that it and the viewers read."""

from pacs_bridge.transcoding.errors import CannotTranscode
from pacs_bridge.transcoding.guarded import transcode_guarded
from pacs_bridge.transcoding.syntaxes import needs_transcoding
from pacs_bridge.transcoding.transcode import Transcoded, transcode_for_archive

__all__ = ["CannotTranscode", "Transcoded", "needs_transcoding", "transcode_for_archive", "transcode_guarded"]
