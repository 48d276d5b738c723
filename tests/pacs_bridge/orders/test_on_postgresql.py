"""Orders on PostgreSQL, where several machines place them at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from core.database import Database
from core.migrations import upgrade
from core.settings import Settings
from core.tables import Order
from pacs_bridge.orders.hl7 import ACCEPTED, CONTENT_ERROR, answer
from tests.conftest import make_county
from tests.pacs_bridge.orders.messages import order_message


@pytest.fixture
def settings(postgresql: str, tmp_path: Path) -> Settings:
    """Settings of a service on a database of its own, with the small county."""
    administration = create_engine(f"{postgresql}/postgres", isolation_level="AUTOCOMMIT")
    with administration.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{tmp_path.name}"'))
    administration.dispose()
    settings = Settings(data=tmp_path, database_url=f"{postgresql}/{tmp_path.name}")
    database = Database(settings.database_address)
    upgrade(database)
    make_county(database)
    database.close()
    return settings


def test_eight_machines_at_once_give_every_order_one_number_and_none_twice(settings: Settings) -> None:
    database = Database(settings.database_address)
    codes: list[str] = []

    def work(machine: int) -> None:
        for number in range(6):
            # Two machines send each message: a sender that lost its answer tries the other one.
            data = order_message(number=f"{machine // 2}-{number}", patient=f"P{machine // 2}")
            codes.append(answer(data, settings=settings, database=database).code)

    threads = [threading.Thread(target=work, args=(machine,)) for machine in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [ACCEPTED] * 48
    with database.reading() as session:
        orders = session.query(Order).all()
        assert len(orders) == 24
        assert {order.accession_number.rsplit("-", 1)[1] for order in orders} == {f"{number:03}" for number in range(1, 25)}
    database.close()


def test_a_value_that_no_column_takes_is_answered_and_not_sent_for_ever(settings: Settings) -> None:
    database = Database(settings.database_address)
    said = answer(order_message(facility="NE\0AR"), settings=settings, database=database)
    assert said.code in (CONTENT_ERROR, "AR")
    assert answer(order_message(), settings=settings, database=database).code == ACCEPTED
    database.close()
