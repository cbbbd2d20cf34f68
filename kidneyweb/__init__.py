"""Wiring of the Django project; PyMySQL stands in for MySQLdb before any database is opened."""

import pymysql

pymysql.install_as_MySQLdb()
