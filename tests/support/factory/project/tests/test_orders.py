import sqlite3
import unittest

from shop import orders


class Orders(unittest.TestCase):
    def test_the_total_is_that_of_one_customer(self):
        db = sqlite3.connect(":memory:")
        db.execute(orders.TABLE)
        orders.add(db, "Ann", 150)
        orders.add(db, "Bob", 99)
        self.assertEqual(orders.total(db, "Ann"), 150)
