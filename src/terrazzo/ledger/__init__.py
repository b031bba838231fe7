"""What is kept of people and what they own: users, jobs, services, processes, files.

One database, embedded (SQLite) or shared (PostgreSQL), with one schema; one rule that turns a
principal into the filter of everything that may be seen; and the queue of jobs. No web here.
"""

from terrazzo.ledger.access import ANONYMOUS, LOCAL, Principal, Visibility, owned, visible
from terrazzo.ledger.database import Database, database_url
from terrazzo.ledger.signing import Signer

__all__ = [
    "ANONYMOUS",
    "LOCAL",
    "Database",
    "Principal",
    "Signer",
    "Visibility",
    "database_url",
    "owned",
    "visible",
]
