"""The SQL of the connections that write and read; that of the loop's third is in `log_statements`. Nothing here fails
in normal use: a conflict gives no row (internals/postgres.md).

Each write begins with $1 core, $2 n, $3 k: its batch, and its place there. It adds the line (core, n, k) to `changes`
in the same statement that changes something, so the line says whether the write took effect: statements of the same
write that follow refer to it, and so does the core when the answer to a COMMIT was lost.
"""

from __future__ import annotations

from reed.store.changes import PAGE_CHANGES
from reed.store.deleted import MAX_BONDS, MAX_CONTENT
from reed.store.postgres.log_statements import NEXT_EVENT, lines_of
from reed.store.snippets import PAGE_BYTES

# A type may not be redefined between the check of a content and the COMMIT of its write.
_TYPED = "typed AS MATERIALIZED (SELECT FROM types WHERE name = {type} AND revision = {revision}::bigint FOR KEY SHARE)"
# Fields that must be unique, and whose value another snippet has.
_IS_FREE = (
    "NOT EXISTS (SELECT FROM unnest({fields}::text[], {values}::text[]) AS new (field, value)"
    " JOIN fields USING (field, value) WHERE fields.type = {type} AND is_unique AND fields.id <> {id}::uuid)"
)
_NAME_IS_FREE = (
    "({name} = '' OR NOT EXISTS (SELECT FROM snippets other"
    " WHERE other.name = {name} AND other.name <> '' AND other.id <> {id}::uuid))"
)
_LOGGED = (
    "logged AS (INSERT INTO changes (core, n, k, kind, id, type, name, version, at, made_by)"
    " SELECT $1::uuid, $2::bigint, $3::int, {values} FROM made)"
)
INDEX_AGAIN = "ON CONFLICT (id) DO UPDATE SET at = excluded.at, claimed = '-infinity', attempts = 0"
INDEX_CLAIMED = "ON CONFLICT (id) DO UPDATE SET at = excluded.at, claimed = excluded.claimed, attempts = 1"
REINDEX_AGAIN = "ON CONFLICT (type) DO UPDATE SET after = excluded.after, remaining = excluded.remaining"
FIRST_ID = "00000000-0000-0000-0000-000000000000"  # below that of every snippet


def end_batch(core: str, n: str) -> str:
    """The number of a transaction among those of all cores. It comes last, since it locks out the others."""
    return (
        "WITH next AS (UPDATE head SET last = last + 1 WHERE what = 'batches' RETURNING last)"
        f" INSERT INTO batches (seq, core, n) SELECT last, {core}, {n} FROM next RETURNING seq"
    )


def _content(made: str, logged: str, *, with_index: bool) -> str:
    """The write of a content of type $5, as of its revision $6."""
    queued = f"queued AS (INSERT INTO unindexed (id) SELECT id FROM made {INDEX_AGAIN})"
    typed = _TYPED.format(type="$5", revision="$6")
    parts = [typed, f"made AS ({made} RETURNING id)", _LOGGED.format(values=logged), *([queued] if with_index else [])]
    return f"WITH {', '.join(parts)} SELECT FROM made"


def _create(*, with_unique: bool, with_index: bool) -> str:
    free = f" WHERE {_IS_FREE.format(fields='$11', values='$12', type='$5', id='$4')}" if with_unique else ""
    return _content(
        "INSERT INTO snippets (id, type, name, version, created_at, updated_at, content)"
        f" SELECT $4::uuid, $5, $7, 1, $8::bigint, $8::bigint, $9 FROM typed{free} ON CONFLICT DO NOTHING",
        "'snippet.created', id, $5, $7, 1, $8::bigint, $10",
        with_index=with_index,
    )


def _create_together(*, has_names: bool, with_index: bool) -> str:
    """Creates that follow each other: $1 core, $2 n, then arrays of k and of what `create` takes. Gives k of those that
    took effect. Only a name can be in use, and ON CONFLICT costs the server a fifth of the time of a create."""
    unless_taken = " ON CONFLICT DO NOTHING" if has_names else ""
    queued = f", queued AS (INSERT INTO unindexed (id) SELECT id FROM made{' ' + INDEX_AGAIN if has_names else ''})"
    return (
        "WITH new (k, id, type, revision, name, at, content, made_by) AS (SELECT * FROM unnest($3::int[], $4::uuid[],"
        "   $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::text[], $10::text[])),"
        " typed AS MATERIALIZED (SELECT name AS type, revision FROM types"
        "   WHERE (name, revision) IN (SELECT type, revision FROM new) FOR KEY SHARE),"
        " made AS (INSERT INTO snippets (id, type, name, version, created_at, updated_at, content)"
        "   SELECT id, type, name, 1, at, at, content FROM new JOIN typed USING (type, revision)"
        f"  {unless_taken} RETURNING id),"
        " logged AS (INSERT INTO changes (core, n, k, kind, id, type, name, version, at, made_by)"
        "   SELECT $1::uuid, $2::bigint, k, 'snippet.created', id, type, name, 1, at, made_by"
        "   FROM new JOIN made USING (id))"
        f"{queued if with_index else ''} SELECT k FROM new JOIN made USING (id)"
    )


_IS_FREE_FOR_RECORD = _IS_FREE.format(fields="$14", values="$15", type="$5", id="$4")


def _restore_new(*, with_index: bool) -> str:
    return _content(
        "INSERT INTO snippets (id, type, name, version, created_at, updated_at, content)"
        " SELECT $4::uuid, $5, $7, $8::bigint, $9::bigint, $10::bigint, $11 FROM typed"
        f" WHERE {_IS_FREE_FOR_RECORD} ON CONFLICT DO NOTHING",
        "'snippet.created', id, $5, $7, $8::bigint, $12::bigint, $13",
        with_index=with_index,
    )


def _replace(*, with_index: bool) -> str:
    """Every column of a snippet, whose version is still $16."""
    return _content(
        "UPDATE snippets SET type = $5, name = $7, version = $8::bigint, created_at = $9::bigint,"
        " updated_at = $10::bigint, content = $11 FROM typed WHERE id = $4::uuid AND version = $16::bigint"
        f" AND {_NAME_IS_FREE.format(name='$7', id='$4')} AND {_IS_FREE_FOR_RECORD}",
        "'snippet.updated', id, $5, $7, $8::bigint, $12::bigint, $13",
        with_index=with_index,
    )


_RENAME = (
    "WITH made AS (UPDATE snippets SET name = $5, version = version + 1, updated_at = $6::bigint"
    f" WHERE id = $4::uuid AND version = $7::bigint AND {_NAME_IS_FREE.format(name='$5', id='$4')}"
    " RETURNING id, type, version), "
    + _LOGGED.format(values="'snippet.updated', id, type, $5, version, $6::bigint, $8")
    + " SELECT FROM made"
)
_DELETE = (
    "WITH made AS (DELETE FROM snippets WHERE id = $4::uuid AND version = $5::bigint"
    " AND NOT EXISTS (SELECT FROM bonds WHERE parent = $4::uuid)"
    " AND NOT EXISTS (SELECT FROM bonds WHERE child = $4::uuid)"
    " RETURNING id, type, name, version),"
    " drop_fields AS (DELETE FROM fields WHERE id IN (SELECT id FROM made)),"
    " drop_queued AS (DELETE FROM unindexed WHERE id IN (SELECT id FROM made)), "
    + _LOGGED.format(values="'snippet.deleted', id, type, name, version, $6::bigint, $7")
    + " SELECT FROM made"
)
# Before a delete, if somebody wants its event: $4 id, $5 version, $6 the plugin that deletes it (reed.store.deleted).
_KEEP_DELETED = (
    "WITH found AS (SELECT json_build_object('id', id::text, 'parent', parent::text, 'child', child::text,"
    "   'weight', weight, 'path', path)::text AS bond, parent <> $4::uuid AS is_above, weight, path, child FROM"
    "   (SELECT * FROM bonds WHERE parent = $4::uuid UNION ALL SELECT * FROM bonds WHERE child = $4::uuid) AS touching"
    "   LIMIT 1000),"
    " listed AS (SELECT bond, sum(octet_length(bond)) OVER place AS size, row_number() OVER place AS number"
    "   FROM found WINDOW place AS (ORDER BY is_above, weight, path, child)),"
    " bonds AS (SELECT '\"bonds\":['"
    f"   || coalesce(string_agg(bond, ',' ORDER BY number) FILTER (WHERE size <= {MAX_BONDS}), '') || ']'"
    f"   || CASE WHEN max(size) > {MAX_BONDS} THEN ',\"more_bonds\":true' ELSE '' END AS member FROM listed)"
    " INSERT INTO deleted (core, n, k, content, bonds) SELECT $1::uuid, $2::bigint, $3::int,"
    f" CASE WHEN size <= {MAX_CONTENT} THEN '\"content\":' || content"
    '   ELSE \'"content":null,"content_bytes":\' || size END, bonds.member FROM snippets CROSS JOIN bonds'
    " WHERE id = $4::uuid AND version = $5::bigint"
    " AND EXISTS (SELECT FROM subscribers WHERE 'snippet.deleted' = ANY (kinds) AND subscribers.name <> $6)"
)

# $4 id, $5 parent, $6 child, $7 weight, $8 path, $9 and $10 their types, $11 revision of the parent's type, $12 time;
# $13 and $14 the types with a max_depth, and it; $15 `change_log.bond_name`, $16 the plugin. `down` from the child must
# not reach the parent.
_BOND = (
    "WITH RECURSIVE "
    + _TYPED.format(type="$9", revision="$11")
    + ", down AS (SELECT $6::uuid AS id UNION SELECT child FROM bonds JOIN down ON parent = down.id),"
    " up AS (SELECT $5::uuid AS id, 0 AS distance UNION SELECT parent, distance + 1 FROM bonds JOIN up ON child = up.id"
    "   WHERE distance < (SELECT max(depth) FROM unnest($14::bigint[]) AS depth)),"
    " room AS (SELECT min(depth - distance) AS levels FROM up JOIN snippets USING (id)"
    "   JOIN unnest($13::text[], $14::bigint[]) AS limits (type, depth) USING (type)),"
    " below AS (SELECT $6::uuid AS id, 1 AS level"
    "   UNION SELECT child, level + 1 FROM bonds JOIN below ON parent = below.id"
    "   WHERE level <= (SELECT levels FROM room)),"
    " made AS (INSERT INTO bonds (parent, weight, path, child, id)"
    "   SELECT $5::uuid, $7::int, $8, $6::uuid, $4::uuid FROM typed"
    "   WHERE NOT EXISTS (SELECT FROM down WHERE id = $5::uuid)"
    "   AND NOT EXISTS (SELECT FROM bonds WHERE parent = $5::uuid AND child = $6::uuid)"
    "   AND EXISTS (SELECT FROM snippets WHERE id = $5::uuid AND type = $9)"
    "   AND EXISTS (SELECT FROM snippets WHERE id = $6::uuid AND type = $10)"
    "   AND coalesce((SELECT levels FROM room) >= (SELECT max(level) FROM below), true)"
    "   ON CONFLICT DO NOTHING RETURNING id), "
    + _LOGGED.format(values="'bonded', $5::uuid, $9, $15, 0, $12::bigint, $16")
    + " SELECT FROM made"
)
_UNBOND = (
    "WITH made AS (DELETE FROM bonds WHERE parent = $4::uuid AND child = $5::uuid RETURNING id), "
    + _LOGGED.format(values="'unbonded', $4::uuid, $7, $8, 0, $6::bigint, $9")
    + " SELECT FROM made"
)

_AT_VERSION = "FROM snippets WHERE id = $1::uuid AND version = $2::bigint"
_OWN_LINE = "changes WHERE core = $1::uuid AND n = $2::bigint AND k = $3::int"

WRITES = {
    "create": _create(with_unique=False, with_index=False),
    "create_indexed": _create(with_unique=False, with_index=True),
    "creates": _create_together(has_names=False, with_index=False),
    "creates_indexed": _create_together(has_names=False, with_index=True),
    "creates_named": _create_together(has_names=True, with_index=False),
    "creates_named_indexed": _create_together(has_names=True, with_index=True),
    "create_unique": _create(with_unique=True, with_index=False),
    "create_unique_indexed": _create(with_unique=True, with_index=True),
    "restore": _restore_new(with_index=False),
    "restore_indexed": _restore_new(with_index=True),
    "replace": _replace(with_index=False),
    "replace_indexed": _replace(with_index=True),
    "rename": _RENAME,
    "delete": _DELETE,
    "keep_deleted": _KEEP_DELETED,
    # Before a delete with cascade. The snippet is locked first, so that all of it happens or nothing.
    "hold": f"SELECT {_AT_VERSION} FOR UPDATE",
    "drop_bonds_below": f"DELETE FROM bonds WHERE parent = $1::uuid AND EXISTS (SELECT {_AT_VERSION})",
    "drop_bonds_above": f"DELETE FROM bonds WHERE child = $1::uuid AND EXISTS (SELECT {_AT_VERSION})",
    "put_fields": (
        "INSERT INTO fields (type, field, value, id, is_unique) SELECT type, field, value, id, is_unique FROM"
        f" (SELECT type, id FROM {_OWN_LINE}) AS line,"
        " unnest($4::text[], $5::text[], $6::boolean[]) AS new (field, value, is_unique)"
    ),
    "drop_fields": f"DELETE FROM fields USING (SELECT id FROM {_OWN_LINE}) AS line WHERE fields.id = line.id",
    # Bonds are checked and made one after another, on whichever core.
    "lock_bonds": "SELECT FROM head WHERE what = 'bonds' FOR UPDATE",
    "bond": _BOND,
    "unbond": _UNBOND,
    "mark": f"INSERT INTO unindexed (id) SELECT id FROM snippets WHERE id = $1::uuid {INDEX_AGAIN}",
    "mark_all": f"INSERT INTO reindex VALUES ('', '{FIRST_ID}', $1::bigint) {REINDEX_AGAIN}",
    "subscribe": (
        "INSERT INTO subscribers (name, told, kinds) SELECT $1, last, $2::text[] FROM head WHERE what = 'batches'"
        " ON CONFLICT (name) DO UPDATE SET kinds = excluded.kinds"
    ),
    "ack": (
        "UPDATE subscribers SET (told, k) = (SELECT * FROM (VALUES (told, k), ($4::bigint, $5::int)) AS place (told, k)"
        "   ORDER BY told DESC, k DESC LIMIT 1),"
        # The cursor is beyond them: too many waited, so they were counted as lost before they were acknowledged.
        " lost = greatest(lost - $6::bigint - CASE WHEN (told, k) >= ($4::bigint, $5::int) THEN $7::int ELSE 0 END, 0)"
        " WHERE name = $1 AND leader = $2::uuid AND generation = $3::bigint"
    ),
    "end_batch": end_batch("$1::uuid", "$2::bigint"),
    # Was the batch committed? This waits while nobody knows. If it never happened, it cannot happen any more.
    "resolve": (
        "WITH next AS (UPDATE head SET last = last + 1 WHERE what = 'batches' RETURNING last),"
        " made AS (INSERT INTO batches (seq, core, n) SELECT last, $1::uuid, $2::bigint FROM next"
        "   ON CONFLICT (core, n) DO NOTHING RETURNING core, n)"
        " INSERT INTO changes (core, n, k, kind, type, name, version, at, made_by)"
        " SELECT core, n, -1, 'never', '', '', 0, 0, '' FROM made"
    ),
    "outcome": (
        "SELECT seq, k, (SELECT last FROM head WHERE what = 'trimmed')"
        " FROM batches LEFT JOIN changes USING (core, n) WHERE core = $1::uuid AND n = $2::bigint"
    ),
    "notify": "SELECT pg_notify('reed', $1)",
}

COLUMNS = "id::text, type, name, version, created_at, updated_at, content"


def _page(condition: str) -> str:
    """Up to $2 snippets after $1, as many as fit into a page, but one at least; the last column: are there more?"""
    return (
        f"SELECT {COLUMNS}, found > count(*) OVER () FROM"
        f" (SELECT *, sum(size) OVER (ORDER BY id) AS total, row_number() OVER (ORDER BY id) AS number,"
        f"   count(*) OVER () AS found FROM"
        f"   (SELECT * FROM snippets WHERE {condition} id > $1::uuid ORDER BY id LIMIT $2::int + 1) AS next) AS sized"
        f" WHERE number = 1 OR (number <= $2::int AND total <= {PAGE_BYTES}) ORDER BY sized.id"
    )


_ENDS = (
    "SELECT batches.last AS last, trimmed.last AS trimmed FROM head AS batches, head AS trimmed"
    " WHERE batches.what = 'batches' AND trimmed.what = 'trimmed'"
)

READS = {
    "by_id": f"SELECT {COLUMNS} FROM snippets WHERE id = $1::uuid",
    "by_name": f"SELECT {COLUMNS} FROM snippets WHERE name = $1 AND name <> ''",
    "by_prefix": (
        "SELECT id::text FROM snippets WHERE id BETWEEN $1::uuid AND $2::uuid ORDER BY snippets.id LIMIT $3::int"
    ),
    "names": ("SELECT name FROM snippets WHERE name <> '' AND name >= $1 AND name < $2 ORDER BY name LIMIT $3::int"),
    "near_names": (
        "(SELECT name FROM snippets WHERE name <> '' AND name >= $1 ORDER BY name LIMIT 8)"
        " UNION ALL (SELECT name FROM snippets WHERE name <> '' AND name < $1 ORDER BY name DESC LIMIT 8)"
    ),
    "page": _page(""),
    "page_of_type": _page("type = $3 AND"),
    "holder_of_value": (
        "SELECT field, coalesce(nullif(name, ''), id::text) FROM unnest($3::text[], $4::text[]) AS new (field, value)"
        " JOIN fields USING (field, value) JOIN snippets USING (id)"
        " WHERE fields.type = $1 AND is_unique AND fields.id <> $2::uuid ORDER BY field LIMIT 1"
    ),
    "bonds_of": (
        "(SELECT FROM bonds WHERE parent = $1::uuid LIMIT 1) UNION ALL"
        " (SELECT FROM bonds WHERE child = $1::uuid LIMIT 1) LIMIT 1"
    ),
    "bond_of": "SELECT FROM bonds WHERE parent = $1::uuid AND child = $2::uuid LIMIT 1",
    "count_bonds": "SELECT (SELECT count(*) FROM bonds), (SELECT last FROM head WHERE what = 'batches')",
    "revisions": "SELECT name, revision FROM types",
    "definitions": "SELECT name, revision, definition FROM types WHERE name = ANY ($1::text[])",
    # Each row begins with the last batch, and the last one that was trimmed. The second looks at so many batches.
    "log_ends": _ENDS,
    "log_after": (
        f"SELECT ends.last, trimmed, seq, k, kind, id::text, type, name, version, at, made_by FROM ({_ENDS}) AS ends"
        " LEFT JOIN LATERAL (SELECT seq, line.* FROM "
        + lines_of(f"(SELECT * FROM batches WHERE seq BETWEEN $1::bigint AND $1::bigint + {PAGE_CHANGES} ORDER BY seq)")
        + "   WHERE (seq, line.k) > ($1::bigint, $2::int) AND line.k >= 0"
        f"   ORDER BY seq, line.k LIMIT {PAGE_CHANGES}) AS line ON true ORDER BY seq, k"
    ),
    "next_event": NEXT_EVENT,
}
