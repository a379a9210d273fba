//! What is found in contents of all kinds, where, and what cannot be searched.
