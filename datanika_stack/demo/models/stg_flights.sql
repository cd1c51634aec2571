-- One row per scheduled departure, with a readable key and real timestamps.
select
    to_char(make_date(year::int, month::int, day::int), 'YYYYMMDD')
        || '-' || origin || '-' || carrier || '-' || flight as flight_key,
    make_date(year::int, month::int, day::int) as flight_date,
    carrier,
    flight::int as flight_number,
    tailnum,
    origin,
    dest as destination,
    time_hour as scheduled_hour,
    sched_dep_time::int as scheduled_departure_hhmm,
    dep_delay::int as departure_delay_minutes,
    arr_delay::int as arrival_delay_minutes,
    air_time::int as air_time_minutes,
    distance::int as distance_miles,
    dep_time is null as is_cancelled
from {{ source('airline', 'flights') }}
