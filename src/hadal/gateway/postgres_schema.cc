#include "hadal/gateway/postgres_schema.h"

namespace hadal::gateway {

// A subject's row is locked first, subjects in the order of their names, so that admissions of one
// subject happen one after another and never wait for each other in a circle. Time is read behind
// the locks. Each statement of a function sees what was committed before it ("read committed",
// which the connection asks for).
//
// `seconds` and `tokens` are a ring of 61 slots, as LimitBook has them.
const char* const kPostgresSchema = R"sql(
SELECT pg_advisory_xact_lock(4729113802276);

CREATE TABLE IF NOT EXISTS hadal_limits(
  subject text PRIMARY KEY,
  level double precision, level_ms bigint NOT NULL DEFAULT 0,
  seconds bigint[] NOT NULL DEFAULT array_fill(-1::bigint, ARRAY[61]),
  tokens bigint[] NOT NULL DEFAULT array_fill(0::bigint, ARRAY[61]),
  day bigint NOT NULL DEFAULT 0, day_tokens bigint NOT NULL DEFAULT 0,
  month bigint NOT NULL DEFAULT 0, month_nanos bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS hadal_limits_running(
  subject text, lease text, ends_ms bigint NOT NULL, PRIMARY KEY(subject, lease));

CREATE OR REPLACE FUNCTION hadal_limits_lock_1(wanted text[]) RETURNS bigint
LANGUAGE plpgsql AS $body$
DECLARE
  one text;
BEGIN
  FOR one IN SELECT DISTINCT unnest(wanted) ORDER BY 1 LOOP
    PERFORM 1 FROM hadal_limits WHERE subject = one FOR UPDATE;
    IF NOT FOUND THEN
      INSERT INTO hadal_limits(subject) VALUES (one) ON CONFLICT DO NOTHING;
      PERFORM 1 FROM hadal_limits WHERE subject = one FOR UPDATE;
    END IF;
  END LOOP;
  RETURN floor(extract(epoch FROM clock_timestamp()) * 1000);
END $body$;

CREATE OR REPLACE FUNCTION hadal_limits_admit_1(
  cost bigint, nanos bigint, lease_id text, lease_ms bigint, at_day bigint, at_month bigint,
  day_left_ms bigint, month_left_ms bigint, subjects text[], limits double precision[])
RETURNS bigint[] LANGUAGE plpgsql AS $body$
DECLARE
  ms bigint := hadal_limits_lock_1(subjects);
  now_second bigint := ms / 1000;
  slot int := now_second % 61 + 1;
  r hadal_limits;
  kept hadal_limits[] := '{}';
  answer bigint[] := ARRAY[1, now_second];
  rate float8; burst float8; per_minute float8; per_day float8; per_running float8; money float8;
  used_minute bigint; running bigint; room bigint;
  waits bigint; impossible boolean; at_second bigint; at_tokens bigint;
  worst bigint[];
  limit_number int; is_over boolean;
BEGIN
  FOR i IN 1 .. cardinality(subjects) LOOP
    SELECT * INTO r FROM hadal_limits WHERE subject = subjects[i];
    rate := limits[i * 6 - 5]; burst := limits[i * 6 - 4]; per_minute := limits[i * 6 - 3];
    per_day := limits[i * 6 - 2]; per_running := limits[i * 6 - 1]; money := limits[i * 6];
    IF at_day > r.day THEN r.day := at_day; r.day_tokens := 0; END IF;
    IF at_month > r.month THEN r.month := at_month; r.month_nanos := 0; END IF;
    IF rate > 0 THEN
      r.level := least(burst, coalesce(r.level + greatest(0, ms - r.level_ms) * rate / 1000, burst));
      r.level_ms := ms;
    END IF;
    SELECT coalesce(sum(t), 0) INTO used_minute FROM unnest(r.seconds, r.tokens) AS u(s, t)
      WHERE s >= now_second - 60;
    DELETE FROM hadal_limits_running WHERE subject = subjects[i] AND ends_ms <= ms;
    SELECT count(*) INTO running FROM hadal_limits_running WHERE subject = subjects[i];

    FOR limit_number IN 0 .. 4 LOOP
      is_over := false; impossible := false;
      CASE limit_number
        WHEN 0 THEN
          IF rate > 0 AND r.level < 1 - 1e-9 THEN
            is_over := true; waits := ceil((1 - r.level) / rate * 1000);
          END IF;
        WHEN 1 THEN
          IF per_minute > 0 AND used_minute + cost > per_minute THEN
            is_over := true; impossible := cost > per_minute; waits := 61000; room := used_minute;
            FOR at_second, at_tokens IN SELECT s, t FROM unnest(r.seconds, r.tokens) AS u(s, t)
                WHERE s >= now_second - 60 ORDER BY s LOOP
              room := room - at_tokens;
              IF room + cost <= per_minute THEN
                waits := (at_second + 61 - now_second) * 1000;
                EXIT;
              END IF;
            END LOOP;
          END IF;
        WHEN 2 THEN
          IF per_day > 0 AND r.day_tokens + cost > per_day THEN
            is_over := true; impossible := cost > per_day; waits := day_left_ms;
          END IF;
        WHEN 3 THEN
          IF per_running > 0 AND running >= per_running THEN
            is_over := true; waits := 1000;
          END IF;
        ELSE
          IF money > 0 AND r.month_nanos + nanos > money THEN
            is_over := true; impossible := nanos > money; waits := month_left_ms;
          END IF;
      END CASE;
      IF is_over AND (worst IS NULL OR (impossible AND worst[5] = 0)
                   OR (waits > worst[4] AND (impossible OR worst[5] = 0))) THEN
        worst := ARRAY[0, i, limit_number, greatest(1, waits), impossible::int];
      END IF;
    END LOOP;

    IF r.seconds[slot] = now_second THEN
      r.tokens[slot] := r.tokens[slot] + cost;
    ELSE
      r.seconds[slot] := now_second; r.tokens[slot] := cost;
    END IF;
    r.level := CASE WHEN rate > 0 THEN greatest(r.level - 1, 0) ELSE r.level END;
    r.day_tokens := r.day_tokens + cost;
    r.month_nanos := r.month_nanos + nanos;
    kept := kept || r;
    answer := answer || ARRAY[used_minute + cost, r.day_tokens, running + 1, r.month_nanos];
  END LOOP;
  IF worst IS NOT NULL THEN RETURN worst; END IF;

  FOREACH r IN ARRAY kept LOOP
    UPDATE hadal_limits SET level = r.level, level_ms = r.level_ms, seconds = r.seconds,
      tokens = r.tokens, day = r.day, day_tokens = r.day_tokens, month = r.month,
      month_nanos = r.month_nanos WHERE subject = r.subject;
    INSERT INTO hadal_limits_running VALUES (r.subject, lease_id, ms + lease_ms);
  END LOOP;
  RETURN answer;
END $body$;

CREATE OR REPLACE FUNCTION hadal_limits_settle_1(
  lease_id text, at_day bigint, at_month bigint, at_second bigint, more bigint, nanos bigint,
  subjects text[])
RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
  now_second bigint := hadal_limits_lock_1(subjects) / 1000;
  slot_second bigint := CASE WHEN more > 0 THEN now_second ELSE at_second END;
  slot int := slot_second % 61 + 1;
BEGIN
  DELETE FROM hadal_limits_running WHERE subject = ANY(subjects) AND lease = lease_id;
  UPDATE hadal_limits SET
    tokens[slot] = CASE WHEN seconds[slot] = slot_second THEN greatest(tokens[slot] + more, 0)
                        WHEN seconds[slot] < slot_second THEN greatest(more, 0)
                        ELSE tokens[slot] END,
    seconds[slot] = greatest(seconds[slot], slot_second),
    day_tokens = CASE WHEN more > 0 OR day = at_day THEN greatest(day_tokens + more, 0)
                      ELSE day_tokens END,
    month_nanos = CASE WHEN nanos > 0 OR month = at_month THEN greatest(month_nanos + nanos, 0)
                       ELSE month_nanos END
    WHERE subject = ANY(subjects);
END $body$;

CREATE OR REPLACE FUNCTION hadal_limits_renew_1(lease_id text, lease_ms bigint, subjects text[])
RETURNS void LANGUAGE sql AS $body$
  INSERT INTO hadal_limits_running
    SELECT one, lease_id, locked.ms + lease_ms
      FROM (SELECT hadal_limits_lock_1(subjects) AS ms) AS locked, unnest(subjects) AS one
    ON CONFLICT (subject, lease) DO UPDATE SET ends_ms = excluded.ends_ms;
$body$;
)sql";

const char* const kPostgresAdmit =
    "SELECT array_to_string(hadal_limits_admit_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10), ' ')";
const char* const kPostgresSettle = "SELECT hadal_limits_settle_1($1, $2, $3, $4, $5, $6, $7)";
const char* const kPostgresRenew = "SELECT hadal_limits_renew_1($1, $2, $3)";
// The function that is made last.
const char* const kPostgresIsThere =
    "SELECT 1 WHERE to_regprocedure('hadal_limits_renew_1(text, bigint, text[])') IS NOT NULL";

}  // namespace hadal::gateway
