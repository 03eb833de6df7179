-- The name of the token that a request came with.

ALTER TABLE decisions ADD COLUMN caller TEXT;
