"""Devices with permissions and certificates, orders, commitment, what an examination of an instance found

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

import core.database


revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refused_callers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("certificate_sha256", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(length=512), nullable=False),
        sa.Column("remedy", sa.String(length=512), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("first_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_callers")),
        sa.UniqueConstraint("ae_title", "address", name=op.f("uq_refused_callers_ae_title_address")),
    )
    with op.batch_alter_table("refused_callers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_refused_callers_last_at"), ["last_at"], unique=False)

    op.create_table(
        "character_set_sightings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("declared", sa.String(length=128), nullable=False),
        sa.Column("found", sa.String(length=64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("example_uid", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_character_set_sightings_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_character_set_sightings")),
        sa.UniqueConstraint("device_id", "declared", "found", name=op.f("uq_character_set_sightings_device_id_declared_found")),
    )
    with op.batch_alter_table("character_set_sightings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_character_set_sightings_device_id"), ["device_id"], unique=False)

    op.create_table(
        "commitments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("requested_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("answered_at", core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("failed", sa.JSON(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_commitments_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
        sa.UniqueConstraint("device_id", "transaction_uid", name=op.f("uq_commitments_device_id_transaction_uid")),
    )
    with op.batch_alter_table("commitments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_commitments_answered_at"), ["answered_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_commitments_device_id"), ["device_id"], unique=False)

    op.create_table(
        "orders",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("organisation_id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=False),
        sa.Column("accession_number", sa.String(length=16), nullable=False),
        sa.Column("placer_number", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("body_part", sa.String(length=64), nullable=False),
        sa.Column("description", sa.String(length=256), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column(
            "urgency", sa.Enum("critical", "urgent", "routine", name="urgency", native_enum=False, length=24), nullable=False
        ),
        sa.Column("device_id", sa.Integer(), nullable=True),
        sa.Column("scheduled_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "scheduled",
                "in_progress",
                "completed",
                "discontinued",
                "cancelled",
                name="orderstate",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("source", sa.Enum("page", "hl7", "fhir", name="ordersource", native_enum=False, length=24), nullable=False),
        sa.Column("created_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_orders_device_id")),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name=op.f("fk_orders_organisation_id")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_orders_patient_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("organisation_id", "accession_number", name=op.f("uq_orders_organisation_id_accession_number")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_orders_study_instance_uid")),
    )
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_orders_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_orders_organisation_id"), ["organisation_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_orders_patient_id"), ["patient_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_orders_placer_number"), ["placer_number"], unique=False)
        batch_op.create_index("ix_orders_worklist", ["organisation_id", "state", "scheduled_at"], unique=False)

    op.create_table(
        "performed_steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=True),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("started_at", core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ended_at", core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_performed_steps_device_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_performed_steps_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performed_steps")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_performed_steps_sop_instance_uid")),
    )
    with op.batch_alter_table("performed_steps", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_performed_steps_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_performed_steps_order_id"), ["order_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_performed_steps_study_instance_uid"), ["study_instance_uid"], unique=False)

    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("port", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("plain", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column("certificate", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("certificate_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("token_hash", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("may_store", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column("may_ask_worklist", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column("may_query", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("may_forward", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("worklist_character_set", sa.String(length=64), nullable=False, server_default="GB18030"))
        batch_op.add_column(sa.Column("character_set_rule", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("max_instance_bytes", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("max_instances_per_minute", sa.Integer(), nullable=True))
        batch_op.create_index(batch_op.f("ix_devices_certificate_sha256"), ["certificate_sha256"], unique=False)
        batch_op.create_unique_constraint(batch_op.f("uq_devices_token_hash"), ["token_hash"])

    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("committed_at", core.database.UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("repair_character_set", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("delivered_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("original_name", sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
        batch_op.alter_column(
            "spool_name", existing_type=sa.VARCHAR(length=128), type_=sa.String(length=255), existing_nullable=True
        )

    with op.batch_alter_table("patients", schema=None) as batch_op:
        batch_op.add_column(sa.Column("search_words", sa.Text(), nullable=False, server_default=""))

    with op.batch_alter_table("quarantined", schema=None) as batch_op:
        batch_op.add_column(sa.Column("study_id", sa.Integer(), nullable=True))
        batch_op.alter_column(
            "file_name", existing_type=sa.VARCHAR(length=160), type_=sa.String(length=255), existing_nullable=False
        )
        batch_op.create_index(batch_op.f("ix_quarantined_study_id"), ["study_id"], unique=False)
        batch_op.create_foreign_key(batch_op.f("fk_quarantined_study_id"), "studies", ["study_id"], ["id"])

    with op.batch_alter_table("studies", schema=None) as batch_op:
        batch_op.add_column(sa.Column("expected_instances", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("studies", schema=None) as batch_op:
        batch_op.drop_column("expected_instances")

    with op.batch_alter_table("quarantined", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_quarantined_study_id"), type_="foreignkey")
        batch_op.drop_index(batch_op.f("ix_quarantined_study_id"))
        batch_op.alter_column(
            "file_name", existing_type=sa.String(length=255), type_=sa.VARCHAR(length=160), existing_nullable=False
        )
        batch_op.drop_column("study_id")

    with op.batch_alter_table("patients", schema=None) as batch_op:
        batch_op.drop_column("search_words")

    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.alter_column(
            "spool_name", existing_type=sa.String(length=255), type_=sa.VARCHAR(length=128), existing_nullable=True
        )
        batch_op.drop_column("deaths")
        batch_op.drop_column("original_name")
        batch_op.drop_column("delivered_sha256")
        batch_op.drop_column("repair_character_set")
        batch_op.drop_column("committed_at")

    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_devices_token_hash"), type_="unique")
        batch_op.drop_index(batch_op.f("ix_devices_certificate_sha256"))
        batch_op.drop_column("max_instances_per_minute")
        batch_op.drop_column("max_instance_bytes")
        batch_op.drop_column("character_set_rule")
        batch_op.drop_column("worklist_character_set")
        batch_op.drop_column("may_forward")
        batch_op.drop_column("may_query")
        batch_op.drop_column("may_ask_worklist")
        batch_op.drop_column("may_store")
        batch_op.drop_column("token_hash")
        batch_op.drop_column("certificate_sha256")
        batch_op.drop_column("certificate")
        batch_op.drop_column("plain")
        batch_op.drop_column("port")

    with op.batch_alter_table("performed_steps", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_performed_steps_study_instance_uid"))
        batch_op.drop_index(batch_op.f("ix_performed_steps_order_id"))
        batch_op.drop_index(batch_op.f("ix_performed_steps_device_id"))

    op.drop_table("performed_steps")
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_index("ix_orders_worklist")
        batch_op.drop_index(batch_op.f("ix_orders_placer_number"))
        batch_op.drop_index(batch_op.f("ix_orders_patient_id"))
        batch_op.drop_index(batch_op.f("ix_orders_organisation_id"))
        batch_op.drop_index(batch_op.f("ix_orders_device_id"))

    op.drop_table("orders")
    with op.batch_alter_table("commitments", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_commitments_device_id"))
        batch_op.drop_index(batch_op.f("ix_commitments_answered_at"))

    op.drop_table("commitments")
    with op.batch_alter_table("character_set_sightings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_character_set_sightings_device_id"))

    op.drop_table("character_set_sightings")
    with op.batch_alter_table("refused_callers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_refused_callers_last_at"))

    op.drop_table("refused_callers")
