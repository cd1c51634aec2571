-- How punctual each carrier was on each day, and how much of it was flown in rough weather.
select
    to_char(f.flight_date, 'YYYYMMDD') || '-' || f.carrier as carrier_day_key,
    f.flight_date,
    f.carrier,
    a.name as carrier_name,
    count(*) as flights,
    count(*) filter (where f.is_cancelled) as flights_cancelled,
    round(avg(f.departure_delay_minutes), 2) as average_departure_delay_minutes,
    round(avg(f.arrival_delay_minutes), 2) as average_arrival_delay_minutes,
    round(avg((f.arrival_delay_minutes > 15)::int), 4) as share_delayed,
    round(avg(w.is_rough::int), 4) as share_in_rough_weather
from {{ ref('stg_flights') }} as f
join {{ source('airline', 'airlines') }} as a on a.carrier = f.carrier
left join {{ ref('stg_weather') }} as w
    on w.origin = f.origin and w.observed_hour = f.scheduled_hour
group by f.flight_date, f.carrier, a.name
