-- Names the history that feed_version.version counts in. Clients that know another epoch get everything.
-- After a restore from a backup: UPDATE feed_version SET epoch = gen_random_uuid();
ALTER TABLE feed_version ADD COLUMN epoch uuid NOT NULL DEFAULT gen_random_uuid();
