"""The workspace of a run: files in any file system, one writer at a time, each stage published whole or not at all."""

from longtail.workspace.workspace import (
    STAGES,
    Stage,
    Workspace,
    fingerprint,
    lost_files,
    read_manifest,
    stage_of,
)

__all__ = ["STAGES", "Stage", "Workspace", "fingerprint", "lost_files", "read_manifest", "stage_of"]
