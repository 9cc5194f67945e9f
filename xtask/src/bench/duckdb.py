"""Groups a capture like `kmodtrace report`, with DuckDB. Argument: FILE. Prints the number of rows."""

import sys

import duckdb

COLUMNS = """{type: 'VARCHAR', time: 'TIMESTAMP', request: 'VARCHAR', name: 'VARCHAR', module: 'VARCHAR', status: 'VARCHAR',
 duration_ns: 'BIGINT', reason: 'VARCHAR', process: 'STRUCT(exe VARCHAR, "user" VARCHAR, unit VARCHAR, container VARCHAR)'}"""

QUERY = f"""
with events as (
    select * from read_json(?, format = 'newline_delimited', compression = 'zstd', maximum_object_size = 16777216,
                            columns = {COLUMNS})
    where type in ('request', 'load', 'result')
), requests as (select * from events where type = 'request'),
   loads as (select * from events where type = 'load'),
   results as (select * from events where type = 'result')
select coalesce(loads.module, requests.name) as what, coalesce(requests.process, loads.process).exe as exe,
       coalesce(requests.process, loads.process)."user" as account, coalesce(requests.process, loads.process).unit as unit,
       count(*) as times, min(coalesce(loads.time, requests.time)), max(coalesce(loads.time, requests.time)),
       sum(results.duration_ns) filter (loads.reason is null or loads.reason in ('asked', 'alias')),
       string_agg(distinct results.status)
from requests full join loads on requests.request = loads.request left join results on results.request = requests.request
group by what, exe, account, unit order by times desc
"""

print(len(duckdb.connect().execute(QUERY, [sys.argv[1]]).fetchall()))
