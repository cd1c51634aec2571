-- Hourly weather per airport. A wind of more than 200 mph is a broken sensor, not a wind.
select
    origin || '-' || to_char(time_hour at time zone 'UTC', 'YYYYMMDDHH24') as weather_key,
    origin,
    time_hour as observed_hour,
    temp as temperature_fahrenheit,
    case when wind_speed <= 200 then wind_speed end as wind_speed_mph,
    precip as precipitation_inches,
    visib as visibility_miles,
    precip > 0 or visib < 3 or coalesce(wind_speed between 25 and 200, false) as is_rough
from {{ source('airline', 'weather') }}
