import sqlite3
import unittest

from shop import export, orders


class Export(unittest.TestCase):
    def setUp(self):
        self.db = sqlite3.connect(":memory:")
        self.db.execute(orders.TABLE)
        orders.add(self.db, "Ann", 150)
        orders.add(self.db, "Bob", 99)

    def test_the_file_has_the_orders_of_one_customer(self):
        name, text = export.export(self.db, "Ann")
        self.assertEqual(name, "orders-ann.csv")
        self.assertEqual(text.splitlines(), ["order,customer,amount", "1,Ann,1.50"])

    def test_a_name_with_a_quote_finds_nobody_else(self):
        _, text = export.export(self.db, "x' OR '1'='1")
        self.assertEqual(text.splitlines(), ["order,customer,amount"])
