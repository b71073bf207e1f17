-- What the service may do on PostgreSQL: read and write rows, never change a table, and only add to what is append-only.
-- Run by the owner of the tables after each `ebill db upgrade`: psql --dbname=ebill --file=roles.sql
-- The role is made once, by an administrator: CREATE ROLE ebill_service LOGIN;
GRANT USAGE ON SCHEMA public TO ebill_service;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ebill_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ebill_service;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO ebill_service;
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM ebill_service;
DO $$
DECLARE append_only regclass;
BEGIN
  FOR append_only IN SELECT tgrelid::regclass FROM pg_trigger WHERE tgname LIKE '%\_no\_change' LOOP
    EXECUTE format('REVOKE UPDATE, DELETE ON %s FROM ebill_service', append_only);
  END LOOP;
END $$;
