"""Devices that are told when a study can be fetched, and what is owed to them

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

import core.database


revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "availability_notices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("answered_at", core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_availability_notices_device_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_availability_notices_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_availability_notices")),
        sa.UniqueConstraint("device_id", "study_id", name=op.f("uq_availability_notices_device_id_study_id")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_availability_notices_sop_instance_uid")),
    )
    with op.batch_alter_table("availability_notices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_availability_notices_answered_at"), ["answered_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_availability_notices_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_availability_notices_study_id"), ["study_id"], unique=False)

    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("told_of_availability", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.drop_column("told_of_availability")

    with op.batch_alter_table("availability_notices", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_availability_notices_study_id"))
        batch_op.drop_index(batch_op.f("ix_availability_notices_device_id"))
        batch_op.drop_index(batch_op.f("ix_availability_notices_answered_at"))

    op.drop_table("availability_notices")
