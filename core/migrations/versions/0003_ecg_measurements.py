"""A doctor's measurement of an ECG becomes a row; those that stand in the audit chain alone get theirs

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

import core.database


revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ecg_measurements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=True),
        sa.Column("rr_ms", sa.Double(), nullable=True),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("measured_by_id", sa.Integer(), nullable=False),
        sa.Column("measured_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["measured_by_id"], ["users.id"], name=op.f("fk_ecg_measurements_measured_by_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_ecg_measurements_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ecg_measurements")),
    )
    with op.batch_alter_table("ecg_measurements", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ecg_measurements_measured_by_id"), ["measured_by_id"], unique=False)
        batch_op.create_index("ix_ecg_measurements_recording", ["study_id", "sop_instance_uid"], unique=False)

    _take_over_from_the_audit_chain()


def downgrade() -> None:
    with op.batch_alter_table("ecg_measurements", schema=None) as batch_op:
        batch_op.drop_index("ix_ecg_measurements_recording")
        batch_op.drop_index(batch_op.f("ix_ecg_measurements_measured_by_id"))

    op.drop_table("ecg_measurements")


def _take_over_from_the_audit_chain() -> None:
    """Write a row for every measurement, and every taking back, that so far was an audit event only."""
    moment = core.database.UtcDateTime(timezone=True)
    events = sa.table(
        "audit_events",
        sa.column("id"), sa.column("at", moment), sa.column("actor"), sa.column("action"), sa.column("subject"),
        sa.column("detail", sa.JSON()),
    )  # fmt: skip
    studies = sa.table("studies", sa.column("id"), sa.column("study_instance_uid"))
    users = sa.table("users", sa.column("id"), sa.column("username"))
    found = (
        sa.select(events.c.at, events.c.detail, studies.c.id.label("study_id"), users.c.id.label("measured_by_id"))
        .join(studies, events.c.subject == sa.literal("study:") + studies.c.study_instance_uid)
        .join(users, events.c.actor == sa.literal("user:") + users.c.username)
        .where(events.c.action.in_(("ecg_measured", "ecg_measurement_taken_back")))
        .order_by(events.c.id)
    )
    rows = [
        {
            "study_id": event.study_id,
            "sop_instance_uid": event.detail["sop_instance_uid"],
            "lines": event.detail.get("lines_ms"),
            "rr_ms": event.detail.get("rr_ms"),
            "values": event.detail.get("values", {}),
            "measured_by_id": event.measured_by_id,
            "measured_at": event.at,
        }
        for event in op.get_bind().execute(found)
    ]
    if rows:
        measurements = sa.table(
            "ecg_measurements",
            sa.column("study_id"), sa.column("sop_instance_uid"), sa.column("lines", sa.JSON()), sa.column("rr_ms"),
            sa.column("values", sa.JSON()), sa.column("measured_by_id"), sa.column("measured_at", moment),
        )  # fmt: skip
        op.bulk_insert(measurements, rows)
