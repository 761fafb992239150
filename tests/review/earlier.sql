-- A journal as versions before batches and roles wrote it.
CREATE TABLE journal (
	seq INTEGER NOT NULL,
	time VARCHAR(40) NOT NULL,
	reviewer VARCHAR(80) NOT NULL,
	action VARCHAR(20) NOT NULL,
	sample VARCHAR(12),
	version VARCHAR(16),
	new_label TEXT,
	comment TEXT NOT NULL,
	undoes INTEGER,
	PRIMARY KEY (seq)
);
INSERT INTO journal VALUES (1, '2026-01-05T09:00:00.000+00:00', 'ann', 'accept', 'aaaaaaaaaaa1', '0123456789abcdef', NULL, 'fits', NULL);
INSERT INTO journal VALUES (2, '2026-01-05T09:00:01.000+00:00', 'bob', 'relabel', 'aaaaaaaaaaa2', NULL, 'sad', '', NULL);
INSERT INTO journal VALUES (3, '2026-01-05T09:00:02.000+00:00', 'ann', 'drop', 'aaaaaaaaaaa3', NULL, NULL, '', NULL);
INSERT INTO journal VALUES (4, '2026-01-05T09:00:03.000+00:00', 'ann', 'undo', NULL, NULL, NULL, '', 3);
INSERT INTO journal VALUES (5, '2026-01-05T09:00:04.000+00:00', 'ann', 'redo', NULL, NULL, NULL, '', 3);
INSERT INTO journal VALUES (6, '2026-01-05T09:00:05.000+00:00', 'bob', 'keep', 'aaaaaaaaaaa1', NULL, NULL, '', NULL);
INSERT INTO journal VALUES (7, '2026-01-05T09:00:06.000+00:00', 'bob', 'undo', NULL, NULL, NULL, '', 6);
-- two processes took back the same line at once
INSERT INTO journal VALUES (8, '2026-01-05T09:00:06.000+00:00', 'bob', 'undo', NULL, NULL, NULL, '', 6);
INSERT INTO journal VALUES (9, '2026-01-05T09:00:07.000+00:00', 'cem', 'second_look', 'aaaaaaaaaaa4', NULL, NULL, 'hm', NULL);
